/**
 * A Docker engine for tests: Debian's dockerd with its own folders and socket. Stopping it removes everything
 * that it made. It leaves the machine's network alone: no bridge, no firewall rules, no forwarding. Tests use
 * no registry, so the base images of the product's Dockerfiles are made locally under the names that the
 * Dockerfiles give.
 */
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cached, findMirror, makeDebian, succeed, SUITE, unpackPackages } from './debian.ts'
import { type Finished, run, type Running, start } from './process.ts'
import { missing } from './programs.ts'

/** Compose v2 and buildx as packages of that release. They need only an older libc. */
const PLUGINS = ['docker-compose', 'docker-buildx'] as const
/** npm for the image that replaces Node's own image. */
const NPM = 'npm@11.4.2'

export interface Engine {
  /** The folder of everything that the engine keeps on disk. */
  readonly data: string
  /** A folder for the test's own files. */
  readonly folder: string
  /** Runs `docker …` to its end. */
  docker(args: readonly string[], options?: { readonly env?: Readonly<Record<string, string>>; readonly input?: string }): Promise<Finished>
  /** Runs `docker …` like `docker`, and throws its output if it fails. @returns its standard output */
  ask(...args: readonly string[]): Promise<string>
  /** Starts `docker …`. */
  start(args: readonly string[], env?: Readonly<Record<string, string>>): Running
  /** Stops the engine, which ends its containers, and starts it again with the same data. */
  restart(): Promise<void>
  /** Stops the engine with all its containers and removes everything. */
  stop(): Promise<void>
}

/** Returns why no engine can run here, or undefined. */
export function engineless(): string | undefined {
  if (process.platform !== 'linux' || !existsSync('/etc/debian_version')) return 'a container engine is made for tests on Debian alone'
  if (process.getuid?.() !== 0) return 'a container engine of our own takes root'
  return missing('dockerd', 'docker', 'mmdebstrap', 'apt-get', 'dpkg-deb', 'setpriv', 'npm')
}

/** @throws Error with a program's output; nothing stays behind then */
export async function startEngine(): Promise<Engine> {
  // Keep it short, because the paths of sockets below it are limited.
  const folder = mkdtempSync(join(tmpdir(), 'asf-eng-'))
  const path = (name: string): string => join(folder, name)
  const data = path('data')
  const socket = path('sock')
  const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: path('config'), DOCKER_BUILDKIT: '1' }
  const docker: Engine['docker'] = (args, options = {}) => run(['docker', ...args], { ...options, env: { ...env, ...options.env } })
  const ask: Engine['ask'] = async (...args) => {
    const { code, stdout, stderr } = await docker(args)
    if (code !== 0) throw new Error(`docker ${args[0]}: ${stderr}`)
    return stdout
  }

  const settings = ['--data-root', data, '--exec-root', path('exec'), '--pidfile', path('pid'), '--host', `unix://${socket}`]
  const alone = ['--shutdown-timeout=5', '--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false']
  const launch = (): { readonly up: Promise<void>; end(): Promise<void> } => {
    // It ends with this process in any case. On SIGTERM it stops its containers first.
    const engine = spawn('setpriv', ['--pdeathsig', 'TERM', 'dockerd', ...settings, ...alone], { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    const up = Promise.withResolvers<void>()
    engine.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-10_000)
      if (said.includes('API listen on')) up.resolve()
    })
    const gone = once(engine, 'exit').then(() => up.reject(new Error(`dockerd ended: ${said}`)))
    gone.catch(() => {})
    return {
      up: up.promise,
      async end() {
        engine.kill('SIGTERM')
        await gone
      },
    }
  }
  let engine = launch()

  const stop = async (): Promise<void> => {
    const ids = (await docker(['ps', '--all', '--quiet'])).stdout.split('\n').filter((id) => id !== '')
    if (ids.length > 0) await docker(['rm', '--force', ...ids])
    // A network would be a bridge on the machine.
    await docker(['network', 'prune', '--force'])
    await engine.end()
    // Clean up after an engine that was stopped in the middle of its work.
    const left = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
    for (const mount of left.filter((each) => each.startsWith(`${folder}/`)).toReversed()) await run(['umount', '--lazy', mount])
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await engine.up
    mkdirSync(path('config/cli-plugins'), { recursive: true })
    const made = await prepare()
    for (const name of PLUGINS) symlinkSync(join(made, name), path(`config/cli-plugins/${name}`))
    await importBases(made, ask, path)
  } catch (error) {
    await stop()
    throw error
  }
  const restart = async (): Promise<void> => {
    await engine.end()
    engine = launch()
    await engine.up
  }
  return { data, folder, docker, ask, start: (args, more) => start(['docker', ...args], { env: { ...env, ...more } }), restart, stop }
}

/** @returns a folder with the plugins and a Debian file system */
async function prepare(): Promise<string> {
  return cached('asfaleia-engine', async (folder) => {
    const mirror = await findMirror()
    // The program `node` needs two libraries besides libc.
    const debian = makeDebian(join(folder, `${SUITE}.tar`), mirror, ['ca-certificates', 'libstdc++6', 'libatomic1'])
    await Promise.all([debian, fetchPlugins(folder, mirror), fetchNpm(folder)])
  })
}

async function fetchPlugins(folder: string, mirror: string): Promise<void> {
  const tree = join(folder, 'tree')
  await unpackPackages(tree, mirror, PLUGINS)
  for (const name of PLUGINS) copyFileSync(join(tree, 'usr/libexec/docker/cli-plugins', name), join(folder, name))
  rmSync(tree, { recursive: true })
}

async function fetchNpm(folder: string): Promise<void> {
  const { code, stdout, stderr } = await run(['npm', 'pack', '--silent', NPM], { cwd: folder })
  if (code !== 0) throw new Error(stderr)
  renameSync(join(folder, stdout.trim()), join(folder, 'npm.tgz'))
}

/** Returns the default of a Dockerfile's argument. */
function baseOf(dockerfile: string, argument: string): string {
  const text = readFileSync(join(import.meta.dirname, '../../deploy', dockerfile), 'utf8')
  return new RegExp(`^ARG ${argument}=(\\S+)$`, 'm').exec(text)![1]!
}

async function importBases(made: string, ask: Engine['ask'], path: (name: string) => string): Promise<void> {
  const debian = baseOf('tor/Dockerfile', 'DEBIAN_IMAGE')
  await ask('import', join(made, `${SUITE}.tar`), debian)
  const context = path('node')
  mkdirSync(context)
  copyFileSync(process.execPath, join(context, 'node'))
  await succeed('tar', '-C', context, '-xzf', join(made, 'npm.tgz'))
  // A machine with a registry proxy has its own certificate bundle.
  const authorities = '/etc/ssl/certs/ca-certificates.crt'
  if (existsSync(authorities)) copyFileSync(authorities, join(context, 'ca.crt'))
  writeFileSync(
    join(context, 'Dockerfile'),
    [
      `FROM ${debian}`,
      'COPY node /usr/local/bin/node',
      'COPY package /usr/local/lib/node_modules/npm',
      ...(existsSync(authorities) ? [`COPY ca.crt ${authorities}`, `ENV NODE_EXTRA_CA_CERTS=${authorities}`] : []),
      'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && chmod +x /usr/local/lib/node_modules/npm/bin/npm-cli.js',
      '',
    ].join('\n'),
  )
  await ask('build', '--quiet', '--network=none', '--tag', baseOf('relay/Dockerfile', 'NODE_IMAGE'), context)
  rmSync(context, { recursive: true })
}
