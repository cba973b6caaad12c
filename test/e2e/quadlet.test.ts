/**
 * deploy/quadlet: Podman's own generator (from Debian's package, unpacked only) makes units of the files, systemd accepts
 * the units, and they start containers with the settings of docker-compose.yml.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { cached, findMirror, unpackPackages } from '../support/debian.ts'
import { run } from '../support/process.ts'
import { missing } from '../support/programs.ts'

const ROOT = join(import.meta.dirname, '../..')
const reason =
  process.platform !== 'linux' || !existsSync('/etc/debian_version') || process.getuid?.() !== 0
    ? "Podman's generator comes from Debian's packages, which only root can fetch"
    : missing('apt-get', 'dpkg-deb', 'systemd-analyze')
/** The services of the two containers, and those of the four volumes. */
let units: Readonly<Record<string, string>>
/** What the generator said while it read the files. */
let said: string
let folder: string

beforeAll(async () => {
  if (reason !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'asf-quad-'))
  const made = await cached('asfaleia-quadlet', async (place) => {
    const tree = join(place, 'tree')
    await unpackPackages(tree, await findMirror(), ['podman'])
    copyFileSync(join(tree, 'usr/libexec/podman/quadlet'), join(place, 'quadlet'))
    rmSync(tree, { recursive: true })
  })
  const env = { QUADLET_UNIT_DIRS: join(ROOT, 'deploy/quadlet') }
  const generated = await run([join(made, 'quadlet'), '-dryrun'], { env })
  said = generated.stderr
  const parts = generated.stdout.split(/^---(.*)---$/m).slice(1)
  units = Object.fromEntries(parts.flatMap((name, at) => (at % 2 === 0 ? [[name, parts[at + 1]!]] : [])))
}, 120_000)

afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

test('the generator makes a service of each file, and systemd accepts them', async () => {
  expect(said).not.toMatch(/unsupported|error|fail/i)
  expect(Object.keys(units).toSorted()).toEqual([
    'asfaleia-doors-volume.service',
    'asfaleia-name-volume.service',
    'asfaleia-onion-volume.service',
    'asfaleia-operator-volume.service',
    'asfaleia-relay.service',
    'asfaleia-tor.service',
  ])
  mkdirSync(join(folder, 'units'))
  // Podman itself is not installed here.
  for (const [name, unit] of Object.entries(units))
    writeFileSync(join(folder, 'units', name), unit.replaceAll('/usr/bin/podman', '/usr/bin/true'))
  const files = Object.keys(units).map((name) => join(folder, 'units', name))
  const { stdout, stderr } = await run(['systemd-analyze', 'verify', '--man=no', ...files], {
    env: { SYSTEMD_UNIT_PATH: `${join(folder, 'units')}:` },
  })
  expect(`${stdout}${stderr}`.split('\n').filter((line) => line.includes('asfaleia'))).toEqual([])
})

test.each(['relay', 'tor'])('the container of %s has the settings of docker-compose.yml', (service) => {
  const compose = new RegExp(`^  ${service}:\n([\\s\\S]*?)^  \\w+:$`, 'm').exec(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'))![1]!
  const command = /^ExecStart=(.*)$/m.exec(units[`asfaleia-${service}.service`]!)![1]!
  const find = (pattern: RegExp): string => pattern.exec(compose)![1]!
  const flags = [
    `--user ${find(/user: "(.*)"/)}`,
    `--pids-limit ${find(/pids_limit: (.*)/)}`,
    `--memory=${find(/mem_limit: \$\{\w+:-(.*)\}/)}`,
    `--memory-swap=${find(/memswap_limit: \$\{\w+:-(.*)\}/)}`,
    `--cpu-shares=${find(/cpu_shares: (.*)/)}`,
    `--ulimit core=${find(/core: (.*)/)}`,
    `--health-interval ${find(/interval: (.*)/)}`,
    `--health-timeout ${find(/timeout: (.*)/)}`,
    `--health-retries ${find(/retries: (.*)/)}`,
    `--health-start-period ${find(/start_period: (.*)/)}`,
    '--read-only',
    '--read-only-tmpfs=false',
    '--cap-drop all',
    '--security-opt=no-new-privileges',
    '--ipc=none',
    '--log-driver none',
    ...(service === 'relay' ? ['--network none', '--security-opt seccomp=/etc/containers/asfaleia-seccomp.json'] : ['--group-add 3308']),
    // Settings with a value; those without one come from .env.
    ...[...compose.matchAll(/^ {6}(ASFALEIA_\w+): "?([^"\n]+)"?$/gm)].map(([, name, value]) => `--env ${name}=${value}`),
    ...[...compose.matchAll(/^ {6}- (?:\$\{\w+:-)?(\w+)\}?:(\/\S+?)(?=:ro$|$)/gm)].map(([, name, path]) => `-v asfaleia-${name}:${path}`),
  ]
  expect(flags.length).toBeGreaterThan(18)
  expect(flags.filter((flag) => !` ${command} `.includes(` ${flag}`))).toEqual([])
})

test('the volumes in memory have the options of docker-compose.yml', () => {
  const compose = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')
  for (const name of ['doors', 'operator', 'name']) {
    const options = new RegExp(`^  ${name}:\n(?:    .*\n)*? +o: (.*)$`, 'm').exec(compose)![1]!
    expect(units[`asfaleia-${name}-volume.service`]).toContain(`--opt device=tmpfs --opt type=tmpfs --opt o=${options} asfaleia-${name}\n`)
  }
})
