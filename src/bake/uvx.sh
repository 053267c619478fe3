# Installs Python packages under /opt/berth. Arguments: the program or an empty word, Python's version or an empty word, then the packages, the
# main one first.
set -eu
umask 022
home=/opt/berth
. "$home/tmp/env"
export HOME="$home/tmp" TMPDIR="$home/tmp" UV_CACHE_DIR="$home/tmp/cache" UV_TOOL_DIR="$home/tools" UV_TOOL_BIN_DIR="$home/bin" \
    UV_PYTHON_INSTALL_DIR="$home/python" UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_COMPILE_BYTECODE=1
program=$1 python=$2 package=$3
shift 3
cd "$home"
for with; do
    set -- "$@" --with "$with"
    shift
done
[ -z "$python" ] || set -- "$@" --python "$python"
# The folder of programs is on nobody's path here, which uv would warn of.
PATH="$home/bin:$PATH" uv tool install "$@" -- "$package"
for tool in "$home"/tools/*/; do
    PROGRAM="$program" "$tool/bin/python" - "$(basename "$tool")" <<'END'
import hashlib, importlib.metadata, json, os, shutil, sys
home, program, name = '/opt/berth', os.environ['PROGRAM'], sys.argv[1]
if not program:
    # The only program, or the one that is called as its package.
    names = sorted(os.listdir(f'{home}/bin'))
    program = names[0] if len(names) == 1 else name
paths = [f'{home}/bin/{program}', f'{home}/tools/{name}/bin/{program}']
path = next((path for path in paths if os.access(path, os.X_OK)), None)
if path is None:
    sys.exit(f'the package has no program `{program}`; there is: {", ".join(sorted(os.listdir(f"{home}/bin"))) or "none"}')
package = importlib.metadata.distribution(name)
# What the wheel says of each of its files.
record = sorted(line for line in (package.read_text('RECORD') or '').splitlines() if ',sha256=' in line and not line.startswith('..'))
shutil.rmtree(f'{home}/tmp', ignore_errors=True)
# The server needs nothing that says where its packages came from, which may hold credentials.
if os.path.exists(receipt := f'{home}/tools/{name}/uv-receipt.toml'):
    os.remove(receipt)
print('\nberth-baked ' + json.dumps({
    'program': path, 'version': package.version,
    'integrity': 'sha256-' + hashlib.sha256('\n'.join(record).encode()).hexdigest(),
}))
END
done
