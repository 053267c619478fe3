# Installs npm packages under /opt/berth. Arguments: the program or an empty word, then the packages, the main one first.
set -eu
umask 022
home=/opt/berth
. "$home/tmp/env"
export HOME="$home/tmp" TMPDIR="$home/tmp" npm_config_cache="$home/tmp/cache" npm_config_update_notifier=false CI=1 \
    npm_config_fetch_retry_mintimeout=1000 npm_config_fetch_retry_maxtimeout=5000
program=$1
shift
cd "$home"
npm install --prefix "$home" --omit=dev --no-audit --no-fund --loglevel=error -- "$@"
# What was installed is the machine's to say, not the name's: an alias or a range may stand there.
PROGRAM="$program" SPEC="$1" node - <<'END'
const fs = require('fs'), home = '/opt/berth', { PROGRAM, SPEC } = process.env
const at = SPEC.indexOf('@', 1), name = at < 0 ? SPEC : SPEC.slice(0, at)
const read = (file) => JSON.parse(fs.readFileSync(`${home}/node_modules/${file}`, 'utf8'))
const fail = (text) => { console.error(text); process.exit(3) }
const manifest = read(`${name}/package.json`)
const bin = typeof manifest.bin === 'string' ? { [name.split('/').pop()]: manifest.bin } : manifest.bin || {}
let program = PROGRAM
if (!program) {
  // npx's own rule: the only program, by whatever names, or the one that is called as the package without its scope.
  const names = Object.keys(bin)
  program = new Set(Object.values(bin)).size === 1 ? names[0] : names.find((one) => one === name.split('/').pop())
  if (!program) fail(names.length ? `the package has several programs and none of its own name: ${names.join(', ')}` : 'the package has no program')
} else if (!fs.existsSync(`${home}/node_modules/.bin/${program}`)) {
  fail(`the packages have no program \`${program}\`; there is: ${fs.existsSync(`${home}/node_modules/.bin`) ? fs.readdirSync(`${home}/node_modules/.bin`).join(', ') : 'none'}`)
}
const lock = read('.package-lock.json').packages || {}, locked = lock[`node_modules/${name}`] || {}
fs.rmSync(`${home}/tmp`, { recursive: true, force: true })
// `berth sbom` needs the digests alone.
const digests = Object.entries(lock).filter(([, one]) => one.integrity).map(([place, one]) => [place, one.integrity])
fs.writeFileSync(`${home}/lock.json`, JSON.stringify(Object.fromEntries(digests)), { mode: 0o644 })
// The servers need none of what says where their packages came from, which may hold credentials.
for (const file of ['package-lock.json', 'node_modules/.package-lock.json']) fs.rmSync(`${home}/${file}`, { force: true })
console.log('\nberth-baked ' + JSON.stringify({
  program: `${home}/node_modules/.bin/${program}`, version: manifest.version || '', integrity: locked.integrity || '',
}))
END
