<?php
// PHP's built-in server, with this file for every path. A script keeps nothing between two
// requests, so its counter is a file.
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
case '/count':
    $count = (int)@file_get_contents('count') + 1;
    file_put_contents('count', $count);
    echo "$count\n";
    break;
case '/echo':
    echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['QUERY_STRING'] ?? '', ' ', file_get_contents('php://input');
    break;
case '/parts':
    for ($n = 0; $n < 64; $n++) {
        echo str_repeat('x', 8192);
        flush();
    }
    break;
default:
    http_response_code(404);
    echo "there is no such page\n";
}
