<?php
// Draws from PHP's generators before and after it reads its input.
function draw() {
    return ["mt_rand" => (string)mt_rand(), "lcg_value" => (string)lcg_value(), "random_int" => (string)random_int(0, PHP_INT_MAX)];
}
draw();
stream_get_contents(STDIN);
echo json_encode(draw()), "\n";
