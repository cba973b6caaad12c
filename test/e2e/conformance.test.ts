/**
 * Runs a client in another language, written only from the protocol's text, against the relay. Each of its
 * checks is a test here; test/conformance describes them.
 */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ASFALEIA, run, type Running, start } from '../support/process.ts'
import { missing } from '../support/programs.ts'

const CLIENT = ['python3', join(import.meta.dirname, '../conformance/conformance.py'), '--json'] as const
const reason = missing('python3', 'age', 'ssh-keygen')

interface Result {
  readonly name: string
  readonly ok: boolean
  readonly why: string
}

/** Lists the client's checks; with `--list` it needs the doors only to choose the checks. */
function names(...options: readonly string[]): readonly string[] {
  if (missing('python3') !== undefined) return ['every check']
  const [program, ...args] = CLIENT
  const listed = execFileSync(program, [...args, '--list', ...options], { encoding: 'utf8' })
  return listed
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as string)
}

interface Kind {
  readonly title: string
  readonly relay: readonly string[]
  readonly client: readonly string[]
}

const kinds: readonly Kind[] = [
  { title: 'the relay at its doors', relay: [], client: [] },
  { title: 'the relay behind circuits', relay: ['--proxy', 'tcp,unix'], client: ['--proxy', '--only', 'proxy: *'] },
  { title: 'the relay of little memory', relay: ['--memory', '2M'], client: ['--small'] },
]

describe.each(kinds)('$title', ({ relay: flags, client: options }) => {
  let folder: string
  let relay: Running | undefined
  let results: ReadonlyMap<string, Result>

  beforeAll(async () => {
    if (reason !== undefined) return
    folder = await mkdtemp(join(tmpdir(), 'asf-conformance-'))
    const unix = join(folder, 'door')
    relay = start([
      ...ASFALEIA,
      'relay',
      '--tcp',
      '127.0.0.1:0',
      '--unix',
      unix,
      '--http',
      '127.0.0.1:0',
      '--operator',
      'off',
      '--name',
      'localhost',
      ...flags,
    ])
    await relay.until(/^ready$/m)
    const address = (door: string): string => new RegExp(`^${door} (\\S+)$`, 'm').exec(relay?.stdout() ?? '')?.[1] ?? ''
    const done = await run(
      [...CLIENT, '--tcp', address('tcp'), '--unix', unix, '--ws', address('http'), '--name', 'localhost', ...options],
      { env: { TMPDIR: folder } },
    )
    if (done.stderr !== '') throw new Error(`the client broke off: ${done.stderr}`)
    results = new Map(
      done.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Result)
        .map((one) => [one.name, one]),
    )
  }, 180_000)
  afterAll(async () => {
    await relay?.end()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  test.for(names('--tcp', 'x', '--unix', 'x', '--ws', 'x', ...options))('%s', (name, ctx) => {
    ctx.skip(reason !== undefined, reason)
    expect(results.get(name)).toMatchObject({ ok: true, why: '' })
  })
})
