# Draws from Python's generators before and after it reads its input.
import json, os, random, secrets, sys
def draw():
    return {"random": str(random.random()), "hash of a string": str(hash("x")), "os.urandom": os.urandom(8).hex(), "secrets": secrets.token_hex()}
draw()
sys.stdin.read()
print(json.dumps(draw()))
