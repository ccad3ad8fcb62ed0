package guest

// ImageSuffix ends the names of image files, which begin with their digests.
const ImageSuffix = ".img"
