/**
 * `deploy/publish` in a real engine, to a registry on loopback: an operator publishes the images, and an appliance runs
 * them and is upgraded to the next ones without a build.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { succeed } from '../support/debian.ts'
import { type Engine, engineless, startEngine } from '../support/engine.ts'
import { type Finished, run } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { type Registry, startRegistry } from '../support/registry.ts'

const ROOT = join(import.meta.dirname, '../..')
const reason = engineless() ?? missing('docker-registry', 'git')
const SLOW = 240_000
const CLONED = [
  'docker-compose.yml',
  '.dockerignore',
  '.gitignore',
  '.npmrc',
  'deploy',
  'package.json',
  'package-lock.json',
  'src',
  'tsconfig.build.json',
  'tsconfig.json',
] as const

let engine: Engine
let registry: Registry
let clone: string
/** `REGISTRY/NAME` */
let name: string
/** The lines that `deploy/publish` prints for .env. */
let lines: string

beforeAll(async () => {
  if (reason !== undefined) return
  registry = await startRegistry()
  engine = await startEngine()
  name = `${registry.host}/someone/asfaleia`
  clone = join(engine.folder, 'clone')
  mkdirSync(clone)
  for (const path of CLONED)
    cpSync(join(ROOT, path), join(clone, path), { recursive: true, filter: (from) => !from.endsWith('/node_modules') })
  await git('init', '--quiet')
  await commit('first')
}, 600_000)

afterAll(async () => {
  await engine?.stop()
  await registry?.stop()
}, 120_000)

beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

const git = (...args: string[]): Promise<string> =>
  succeed('git', '-C', clone, '-c', 'user.name=Test', '-c', 'user.email=test@example.org', ...args)

async function commit(subject: string): Promise<void> {
  await git('add', '--all')
  await git('commit', '--quiet', '--allow-empty', '--message', subject)
}

/** Runs a script of the clone as an operator would. */
const script = (script: string, words: readonly string[], env: Record<string, string> = {}): Promise<Finished> =>
  run(['sh', join(clone, 'deploy', script), ...words], {
    env: { DOCKER_HOST: `unix://${join(engine.folder, 'sock')}`, DOCKER_CONFIG: join(engine.folder, 'config'), ...env },
  })
// The engine has no network, so a build uses the machine's.
const publish = (...words: string[]): Promise<Finished> =>
  script('publish', words, { PLATFORMS: 'linux/amd64', ASFALEIA_BUILD: '--network=host' })
const compose = (...args: string[]): Promise<string> => engine.ask('compose', '--project-directory', clone, ...args)

/** Reads a manifest from the registry. */
async function manifest(image: string, tag: string): Promise<{ type: string; body: { manifests?: { platform: object }[] } }> {
  const accept = ['application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.oci.image.index.v1+json']
  const answer = await fetch(`http://${registry.host}/v2/someone/${image}/manifests/${tag}`, { headers: { accept: accept.join(', ') } })
  expect(answer.status).toBe(200)
  return { type: answer.headers.get('content-type')!, body: (await answer.json()) as { manifests?: { platform: object }[] } }
}

/** Reads the software bill of materials of an image, which has no program that could print it. */
async function readBom(image: string): Promise<{ components: { name: string; version: string }[] }> {
  await engine.ask('create', '--name', 'bom', image)
  const file = join(engine.folder, 'sbom.json')
  await engine.ask('cp', 'bom:/usr/share/asfaleia/sbom.json', file)
  await engine.ask('rm', 'bom')
  return JSON.parse(readFileSync(file, 'utf8')) as { components: { name: string; version: string }[] }
}

describe('deploy/publish', () => {
  test.each([
    ['without a name', [], 'expected one name'],
    ['without a registry', ['asfaleia'], 'asfaleia names no registry'],
    ['with a digest', ['example.org/a@sha256:0'], 'example.org/a@sha256:0 is no name of an image'],
  ])('refuses to run %s', async (_how, words, problem) => {
    expect(await publish(...words)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(`error: ${problem}\n`) as string })
  })

  test('refuses to publish changes that no commit has', async () => {
    writeFileSync(join(clone, 'src/change.ts'), '')
    expect(await publish(name)).toMatchObject({ code: 1, stderr: expect.stringContaining('differs from its last commit') as string })
    await git('clean', '--quiet', '--force')
  })

  test('pushes both images for each platform, with labels and a bill of materials', { timeout: SLOW }, async () => {
    const published = await publish(name)
    expect(published).toMatchObject({ code: 0 })
    lines = published.stdout
    const { version, dependencies } = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as {
      version: string
      dependencies: Record<string, string>
    }
    expect(lines).toMatch(
      new RegExp(
        `^ASFALEIA_IMAGE=${name}:${version}@sha256:[0-9a-f]{64}\nASFALEIA_TOR_IMAGE=${name}-tor:${version}@sha256:[0-9a-f]{64}\n$`,
      ),
    )
    const [revision, time] = (await git('show', '--no-patch', '--format=%H %ct')).trim().split(' ')
    for (const image of ['asfaleia', 'asfaleia-tor']) {
      const { body } = await manifest(image, version)
      expect(body.manifests!.map(({ platform }) => platform)).toEqual([{ architecture: 'amd64', os: 'linux' }])
      const one = `${registry.host}/someone/${image}:${version}-amd64`
      const labels = JSON.parse(await engine.ask('image', 'inspect', '--format', '{{json .Config.Labels}}', one)) as Record<string, string>
      expect(labels).toMatchObject({
        'org.opencontainers.image.revision': revision,
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.source': expect.stringMatching(/^https:/) as string,
        'org.opencontainers.image.created': new Date(Number(time) * 1_000).toISOString().replace('.000', ''),
        'org.opencontainers.image.licenses': expect.stringContaining('MIT') as string,
      })
      const components = (await readBom(one)).components.map((each) => each.name)
      expect(components).toEqual(
        expect.arrayContaining(
          image === 'asfaleia' ? ['fastify', 'prom-client', 'preact', 'node', 'libc6'] : ['tor', 'libssl3t64', 'libc6'],
        ),
      )
      expect(components).not.toContain('typescript')
      expect(image !== 'asfaleia' || Object.keys(dependencies).length < components.length).toBe(true)
    }
  })
})

describe('an appliance with published images', () => {
  test('runs them, and deploy/upgrade pulls the next ones', { timeout: SLOW }, async () => {
    const { version } = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as { version: string }
    await engine.ask('image', 'rm', `${name}:${version}-amd64`)
    const env = join(clone, '.env')
    writeFileSync(env, lines)
    // There is no Tor network here, so only the relay starts.
    await compose('up', '--detach', 'relay')
    const image = async (): Promise<string> => (await engine.ask('inspect', '--format', '{{.Config.Image}}', await relay())).trim()
    const relay = async (): Promise<string> => (await compose('ps', '--quiet', 'relay')).trim()
    expect(`ASFALEIA_IMAGE=${await image()}`).toBe(lines.split('\n')[0])

    await commit('second')
    const next = (await publish(`${name}:next`)).stdout
    expect(next).toContain(`ASFALEIA_IMAGE=${name}:next@sha256:`)
    await engine.ask('image', 'rm', `${name}:next-amd64`)
    writeFileSync(env, next)
    const upgraded = await script('upgrade', [])
    expect(upgraded).toMatchObject({ code: 0, stdout: 'upgraded: the new relay holds the messages of the old one\n' })
    expect(`ASFALEIA_IMAGE=${await image()}`).toBe(next.split('\n')[0])
    // An image that the registry does not have changes nothing.
    writeFileSync(env, `ASFALEIA_IMAGE=${name}:none\n`)
    expect(await script('upgrade', [])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the image of relay could not be pulled, and the old relay goes on\n') as string,
    })
    expect(`ASFALEIA_IMAGE=${await image()}`).toBe(next.split('\n')[0])
    await compose('down', '--timeout', '5')
  })
})

describe('the image of tor', () => {
  test('ends memberships after their last day, and keeps the service closed', { timeout: 60_000 }, async () => {
    const { version } = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as { version: string }
    const data = join(engine.folder, 'members')
    const [members, over] = [join(data, 'onion/authorized_clients'), join(data, 'over')]
    for (const folder of [members, over]) mkdirSync(folder, { recursive: true, mode: 0o700 })
    const write = (folder: string, name: string): void =>
      writeFileSync(join(folder, `${name}.auth`), `descriptor:x25519:${'A'.repeat(52)}\n`)
    const soon = new Date(Date.now() + 5_000).toISOString().replaceAll(/[-:T]|\..*/g, '')
    const [alice, bob] = ['alice--until-20200101000000', `bob--until-${soon}`]
    write(members, alice)
    write(members, bob)
    // The clock was wrong when this one ended, and this one ended long ago.
    const [carol, dave] = ['carol--until-20990101000000', 'dave--until-20010101000000']
    write(over, carol)
    write(over, dave)
    await succeed('chmod', '0700', join(data, 'onion'))
    await succeed('chown', '-R', '9050:9050', data)
    const mounts = [`--volume=${data}:/var/lib/tor`, '--tmpfs=/run/tor:uid=9050,mode=0700', '--tmpfs=/run/name:uid=9050']
    const options = ['--name=members', '--network=none', '--read-only', '--tmpfs=/run/asfaleia:mode=0755', ...mounts]
    await engine.ask('run', '--detach', ...options, `${name}-tor:${version}-amd64`)
    const has = (folder: string, ...names: string[]) => readdirSync(folder).toSorted().join() === names.map((each) => `${each}.auth`).join()
    const until = async (holds: () => boolean): Promise<void> => {
      while (!holds()) await delay(100)
    }
    // Memberships that ended more than a month ago are deleted.
    await until(() => has(over) && has(members, bob, carol))
    await succeed('rm', join(members, `${carol}.auth`))
    await until(() => has(over, bob) && has(members, 'nobody'))
    expect(readFileSync(join(members, 'nobody.auth'), 'latin1')).toMatch(/^descriptor:x25519:[A-Z2-7]{51}A\n$/)
    expect((await engine.docker(['logs', 'members'])).stderr).toContain('asfaleia: 1 membership is over\n')
    await engine.ask('rm', '--force', 'members')
  })
})
