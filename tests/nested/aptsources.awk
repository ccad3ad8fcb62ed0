# aptsources.awk: reads apt source files, in one-line (.list) and deb822
# (.sources) format, and writes deb822 stanzas for the same archives that hold
# only component main, only the package index, and only the suites of one
# release. Where the plain suite of that release is found, its backports suite
# is added beside it, on the same mirror and under the same key, if asked for.
#
# Use: awk -v codename=bookworm -v backports=1 -f aptsources.awk FILE...

function trim(s) {
	gsub(/^[ \t]+|[ \t\r]+$/, "", s)
	return s
}

# Suites of this release among those listed; "stable" is the name a machine may
# use for the release it runs, its backports carry the code name all the same.
function wanted(suites, parts, n, i, s, out) {
	n = split(suites, parts, /[ \t]+/)
	out = ""
	for (i = 1; i <= n; i++) {
		s = parts[i]
		if (s != codename && s != codename "-updates" && s != codename "-security" &&
		    s != codename "/updates" && s != "stable" && s != "stable-updates" && s != "stable-security")
			continue
		out = out " " s
		if (backports && (s == codename || s == "stable"))
			out = out " " codename "-backports"
	}
	return trim(out)
}

function emit(uris, suites, components, key, trusted, checks) {
	suites = wanted(suites)
	if (uris == "" || suites == "" || (" " components " ") !~ /[ \t]main[ \t]/)
		return
	print "Types: deb"
	print "URIs: " uris
	print "Suites: " suites
	print "Components: main"
	print "Targets: Packages"
	if (key != "")
		print "Signed-By:" key
	if (trusted != "")
		print "Trusted: " trusted
	if (checks != "")
		print "Check-Valid-Until: " checks
	print ""
}

# One-line format: deb [option=value ...] uri suite component...
function oneline(line, options, key, trusted, checks, n, f, i, components, o) {
	sub(/#.*/, "", line)
	line = trim(line)
	if (line !~ /^deb[ \t]/)
		return
	sub(/^deb[ \t]+/, "", line)
	if (line ~ /^\[/) {
		options = substr(line, 2, index(line, "]") - 2)
		line = trim(substr(line, index(line, "]") + 1))
		n = split(options, f, /[ \t]+/)
		for (i = 1; i <= n; i++) {
			o = f[i]
			if (sub(/^signed-by=/, "", o)) {
				gsub(/,/, " ", o)
				key = " " o
			} else if (sub(/^trusted=/, "", o))
				trusted = o
			else if (sub(/^check-valid-until=/, "", o))
				checks = o
		}
	}
	n = split(line, f, /[ \t]+/)
	components = ""
	for (i = 3; i <= n; i++)
		components = components " " f[i]
	emit(f[1], f[2], components, key, trusted, checks)
}

function stanza() {
	if ((" " field["types"] " ") ~ /[ \t]deb[ \t]/ && tolower(trim(field["enabled"])) !~ /^(no|false|0|without|off|disable)$/)
		emit(trim(field["uris"]), trim(field["suites"]), trim(field["components"]), \
		     key822(field["signed-by"]), trim(field["trusted"]), trim(field["check-valid-until"]))
	split("", field)
	name = ""
}

# A Signed-By field is a path or a whole key in continuation lines, which must
# keep their line breaks.
function key822(v) {
	if (v ~ /\n/)
		return v
	v = trim(v)
	return v == "" ? "" : " " v
}

FNR == 1 && NR > 1 { stanza() }

FILENAME ~ /\.list$/ { oneline($0); next }

/^#/ { next }
/^[ \t]*\r?$/ { stanza(); next }
/^[ \t]/ {
	if (name == "signed-by")
		field[name] = field[name] "\n" $0
	else
		field[name] = field[name] " " trim($0)
	next
}
/^[A-Za-z0-9-]+:/ {
	name = tolower(substr($0, 1, index($0, ":") - 1))
	field[name] = trim(substr($0, index($0, ":") + 1))
}

END { stanza() }
