# Installs a project's packages under /opt/berth, by its lock file. Arguments: the program, Python's version or an empty word,
# the project's folder, the first package to add or an empty word; then the further ones, and behind `--` uv's own flags.
set -eu
umask 022
home=/opt/berth
. "$home/tmp/env"
export HOME="$home/tmp" TMPDIR="$home/tmp" UV_CACHE_DIR="$home/tmp/cache" UV_PYTHON_INSTALL_DIR="$home/python" \
    UV_PROJECT_ENVIRONMENT="$home/tools/project" UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_COMPILE_BYTECODE=1
program=$1 python=$2 folder=$3
shift 3
packages=$home/tmp/packages
: >"$packages"
while [ "$1" != -- ]; do
    printf '%s\n' "$1" >>"$packages"
    shift
done
shift
cd "$home/tmp/project"
if [ ! -f pyproject.toml ]; then
    echo "there is no \`pyproject.toml\` in $folder" >&2
    exit 3
fi
[ ! -f uv.lock ] || set -- --frozen "$@"
[ -z "$python" ] || set -- --python "$python" "$@"
uv sync --no-install-project --no-install-workspace "$@"
[ ! -s "$packages" ] || uv pip install --python "$UV_PROJECT_ENVIRONMENT" -r "$packages"
PROGRAM="$program" FOLDER="$folder" "$UV_PROJECT_ENVIRONMENT/bin/python" - <<'END'
import glob, hashlib, importlib, json, os, re, shutil, sys, sysconfig
home, program, folder = '/opt/berth', os.environ['PROGRAM'], os.environ['FOLDER']
venv, packages = f'{home}/tools/project', sysconfig.get_paths()['purelib']
try:
    import tomllib
    project = tomllib.load(open('pyproject.toml', 'rb')).get('project', {})
except ImportError:
    project = {}
# The project itself is found in its folder, as after an installation that can be edited.
with open(f'{packages}/berth-project.pth', 'w') as file:
    file.write(f'{folder}/src\n{folder}\n')
name, version = project.get('name', ''), project.get('version', '0')
if re.fullmatch(r'[A-Za-z0-9._-]+', name):
    about = f"{packages}/{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info"
    os.makedirs(about, exist_ok=True)
    with open(f'{about}/METADATA', 'w') as file:
        file.write(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
path = f'{venv}/bin/{program}'
entry = project.get('scripts', {}).get(program)
if entry:
    match = re.fullmatch(r'([\w.]+):([\w.]+)', entry.strip())
    if not match:
        sys.exit(f'the project has no program `{program}` that can be started')
    path = f'{home}/bin/{program}'
    os.makedirs(f'{home}/bin', exist_ok=True)
    module, function = match.groups()
    with open(path, 'w') as file:
        file.write(f'#!{venv}/bin/python\nimport sys\nfrom {module} import {function.split(".")[0]}\nsys.exit({function}())\n')
    os.chmod(path, 0o755)
elif not os.access(path, os.X_OK):
    there = sorted(set(os.listdir(f'{venv}/bin')) | set(project.get('scripts', {})))
    sys.exit(f'the project has no program `{program}`; there is: {", ".join(there)}')
lock = open('uv.lock', 'rb').read() if os.path.exists('uv.lock') else b''
os.chdir('/')
shutil.rmtree(f'{home}/tmp', ignore_errors=True)
version = version if re.fullmatch(r'[0-9][A-Za-z0-9.+!_-]{0,63}', version) else ''
print('\nberth-baked ' + json.dumps({
    'program': path, 'version': version, 'integrity': 'sha256-' + hashlib.sha256(lock).hexdigest() if lock else '',
}))
END
