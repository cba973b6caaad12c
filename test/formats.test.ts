/**
 * Runs every command of docs/protocol.md, sections 10 to 12, in order and unchanged, and exchanges its results
 * with our own code in both directions. This proves that age and ssh-keygen are enough to read and write the
 * formats.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { generateX25519Identity, identityToRecipient } from 'age-encryption'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parsePrivateKey } from '../src/auth/private-key.ts'
import { makeCard, parseCard } from '../src/client/format/card.ts'
import { makeId } from '../src/client/format/field.ts'
import { parseGroup } from '../src/client/format/group.ts'
import { identityOf } from '../src/client/format/identity.ts'
import type { Content } from '../src/client/format/content.ts'
import { encodeMessage, openMessage, PADDED_BYTES, type Verdict } from '../src/client/format/message.ts'
import { VECTORS } from './support/example.ts'
import { missing } from './support/programs.ts'

const run = promisify(execFile)
const document = readFileSync(join(import.meta.dirname, '../docs/protocol.md'), 'utf8')

interface Step {
  readonly command: string
  readonly printed: string[]
}

/** Reads the `console` blocks of a section. `…` stands for any text within a line. */
function readSteps(section: string): Step[] {
  const [, text] = new RegExp(`^## ${section}\\n([^]*?)(?=^## |$(?![^]))`, 'm').exec(document)!
  const steps: Step[] = []
  for (const [, block] of text!.matchAll(/```console\n([^]*?)```/g)) {
    for (const line of block!.trimEnd().split('\n')) {
      if (line.startsWith('$ ')) steps.push({ command: line.slice(2), printed: [] })
      else steps.at(-1)!.printed.push(line)
    }
  }
  return steps
}

const reason = missing('age', 'ssh-keygen', 'awk', 'openssl')
let folder: string
beforeEach((ctx) => ctx.skip(reason !== undefined, reason))
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  // Do not copy the files as they are: ssh-keygen refuses a private key that others can read.
  for (const name of ['alice', 'alice.pub', 'bob', 'bob.pub'])
    writeFileSync(join(folder, name), readFileSync(join(VECTORS, name)), { mode: 0o600 })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
const person = (name: string) => identityOf(parsePrivateKey(readFileSync(join(VECTORS, name))))
const now = (): number => Date.now() / 1_000

async function follow(steps: readonly Step[]): Promise<void> {
  expect(steps.length).toBeGreaterThan(0)
  for (const { command, printed } of steps) {
    const { stdout, stderr } = await run('sh', ['-c', command], { cwd: folder })
    const lines = printed.map((line) =>
      line
        .split('…')
        .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        .join('.*'),
    )
    // Put the command before its output, so that a failure names the command.
    const after = lines.map((line) => `${line}\n`).join('')
    expect(`${command}\n${stdout}${stderr}`).toMatch(new RegExp(`^${command.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}\n${after}$`))
  }
}

test('the commands of section 10 make a message that our code accepts, and read it', async () => {
  await follow(readSteps('10. Messages'))
  const opened = await openMessage(person('bob'), Buffer.from(read('payload'), 'base64'), { now: now() })
  expect(opened).toMatchObject({ verdict: 'genuine', envelope: { content: { type: 'text', text: 'Hello Bob.' } } })
})

test('the commands of section 11 make a card that our code accepts, as text and as a link', async () => {
  await follow(readSteps('11. Cards'))
  const card = await parseCard(read('alice.card'))
  expect(card).toMatchObject({ version: 2, name: 'Alice', relays: ['localhost'] })
  expect(`${card.link}\n`).toBe(read('link'))
})

test('the commands of section 12 make a group that our code accepts', async () => {
  const bob = await makeCard(person('bob'), { name: 'Bob', relays: ['localhost'], time: Math.floor(now()) })
  writeFileSync(join(folder, 'bob.link'), `${bob.link}\n`)
  await follow(readSteps('12. Groups'))
  const group = await parseGroup(read('friends.group'))
  expect(group.members.map(({ name }) => name)).toEqual(['Alice', 'Bob'])
})

/** Returns the first column of the table whose head begins with these cells. */
function readTable(...head: readonly string[]): string[] {
  const lines = document.split('\n')
  const at = lines.indexOf(lines.find((line) => line.startsWith(`| ${head.join(' | ')} |`))!)
  const rows = lines.slice(at + 2)
  return rows
    .slice(
      0,
      rows.findIndex((line) => !line.startsWith('|')),
    )
    .map((row) => row.split('|')[1]!.trim().replaceAll('`', ''))
}

test('the tables of verdicts and of types match the code', () => {
  const verdicts: Readonly<Record<Verdict, true>> = {
    unreadable: true,
    unsigned: true,
    'unknown-version': true,
    truncated: true,
    malformed: true,
    forged: true,
    unverifiable: true,
    readdressed: true,
    replayed: true,
    future: true,
    stale: true,
    genuine: true,
  }
  expect(readTable('verdict', 'when')).toEqual(Object.keys(verdicts))
  const types: Readonly<Record<Exclude<Content['type'], 'unknown'>, true>> = {
    text: true,
    receipt: true,
    file: true,
    have: true,
    edit: true,
    remove: true,
    card: true,
    group: true,
    leave: true,
    unreadable: true,
  }
  expect(readTable('type', 'headers', 'body')).toEqual(Object.keys(types))
  for (const size of PADDED_BYTES) expect(document).toContain(size.toLocaleString('en'))
})

test('the commands of section 10 read a message that our code makes', async () => {
  // Skip the commands that make the payload.
  const steps = readSteps('10. Messages')
  const reading = steps.slice(steps.findIndex(({ command }) => command.startsWith('base64 -d <payload')))
  const content = { type: 'text', text: 'Hello Bob.' } as const
  const payload = await encodeMessage(person('alice'), { to: person('bob'), id: makeId(), time: Math.floor(now()), content })
  writeFileSync(join(folder, 'payload'), Buffer.from(payload).toString('base64'))
  await follow(reading)
  expect(read('signed')).toMatch(/\n\nHello Bob\.\n$/)
})

describe('between keys of all types', () => {
  const types: Readonly<Record<string, readonly string[]>> = {
    ed25519: ['-t', 'ed25519'],
    rsa: ['-t', 'rsa', '-b', '2048'],
    ecdsa: ['-t', 'ecdsa', '-b', '256'],
  }
  let age: string

  beforeAll(async () => {
    if (reason !== undefined) return
    for (const [name, args] of Object.entries(types))
      await run('ssh-keygen', ['-q', '-N', '', '-C', name, ...args, '-f', join(folder, name)])
    age = await generateX25519Identity()
    writeFileSync(join(folder, 'age'), `${age}\n`, { mode: 0o600 })
  })

  const identity = (name: string) => identityOf(parsePrivateKey(readFileSync(join(folder, name))))
  const key = (name: string): string => read(`${name}.pub`).split(' ').slice(0, 2).join(' ')
  /** Returns a receiver as others know it, and the identity that decrypts. */
  async function receiver(name: string) {
    const { key, ...more } = identity(name)
    if (key.canDecrypt) return { to: { key }, identity: { key, ...more }, recipient: read(`${name}.pub`).trim(), opens: name }
    const recipient = await identityToRecipient(age)
    return { to: { key, recipient }, identity: { key, ...more, opens: [age] }, recipient, opens: 'age' }
  }
  const pairs = Object.keys(types).flatMap((from) => Object.keys(types).map((to) => [from, to] as const))

  test.each(pairs)('age and ssh-keygen accept our message from %s to %s', async (from, to) => {
    const { opens, to: correspondent } = await receiver(to)
    const content = { type: 'text', text: `Hello from ${from}.\n-----BEGIN SSH SIGNATURE-----\n` } as const
    const payload = await encodeMessage(identity(from), { to: correspondent, id: makeId(), time: Math.floor(now()), content })
    writeFileSync(join(folder, 'payload'), payload)
    const script = `age -d -i ${opens} payload >plain
      n=$(grep -an '^-----BEGIN SSH SIGNATURE-----$' plain | tail -n 1 | cut -d: -f1); head -n $((n - 1)) plain >signed; tail -n +$n plain >sig
      echo "somebody ${key(from)}" >people
      ssh-keygen -Y verify -f people -I somebody -n asfaleia-message -s sig <signed
      if ssh-keygen -Y verify -f people -I somebody -n asfaleia-card -s sig <signed; then exit 1; fi
      echo "somebody ${key(from === 'rsa' ? 'ed25519' : 'rsa')}" >people
      if ssh-keygen -Y verify -f people -I somebody -n asfaleia-message -s sig <signed; then exit 1; fi`
    const { stdout } = await run('sh', ['-euc', script], { cwd: folder })
    expect(stdout).toMatch(/^Good "asfaleia-message" signature for somebody with \w+ key SHA256:/)
    expect(PADDED_BYTES).toContain(readFileSync(join(folder, 'plain')).length)
    expect(read('signed')).toMatch(new RegExp(`\\n\\n${content.text}\\n$`))
  })

  test.each(pairs)('our code accepts a message by age and ssh-keygen, padded or not, from %s to %s', async (from, to) => {
    const { recipient, identity } = await receiver(to)
    for (const size of [0, ...PADDED_BYTES]) {
      const script = `
        printf '%s\\n' asfaleia-message/1 'type: text' 'from: ${key(from)}' "to: $(ssh-keygen -lf ${to}.pub | cut -d' ' -f2)" >signed
        printf '%s\\n' "id: $(head -c 16 /dev/urandom | base64 | tr +/ -_ | tr -d =)" "time: $(date -u +%Y-%m-%dT%H:%M:%SZ)" '' 'Hello by hand.' >>signed
        ssh-keygen -q -Y sign -n asfaleia-message -f ${from} <signed >sig
        if [ ${size} = 0 ]; then cat signed sig; else { cat signed sig; yes ''; } | head -c ${size}; fi | age -r "$0" >payload`
      await run('sh', ['-euc', script, recipient], { cwd: folder })
      const opened = await openMessage(identity, readFileSync(join(folder, 'payload')), { now: now() })
      expect(opened).toMatchObject({ verdict: 'genuine', envelope: { content: { type: 'text', text: 'Hello by hand.' } } })
    }
  })
})
