# What an attacker would want to know of the next instance, drawn in this one.
import os, random, secrets, ssl, tempfile, uuid
uuid.uuid1(), random.random(), ssl.RAND_bytes(8), tempfile.mkdtemp()
def handler(event, context):
    u = uuid.uuid1()
    return [os.urandom(16).hex(), random.random(), secrets.token_hex(16), ssl.RAND_bytes(16).hex(), str(uuid.uuid4()), f"{u.node:x} {u.clock_seq:x}", tempfile.mktemp()]
