import json, subprocess, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    result = {}
    if message["method"] == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "shell", "version": "1"}}
    if message["method"] == "tools/call":
        done = subprocess.run(message["params"]["arguments"]["argv"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        result = {"content": [], "code": done.returncode, "out": done.stdout, "err": done.stderr}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
