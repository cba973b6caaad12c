/**
 * `asfaleia key`: makes an SSH key, shows one, or says what the SSH agent has. The relay never sees these files;
 * ssh-keygen makes the same.
 */
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { AgentKey } from '../../auth/agent.ts'
import { generatePrivateKey } from '../../auth/private-key.ts'
import { formatFingerprint, type SshKey } from '../../auth/ssh-key.ts'
import { openCommandLine } from '../program/arguments.ts'
import { makeFolder, writeNew } from '../disk/file.ts'
import { findAgent, listAgent } from '../profile/identity.ts'
import { isPrivateKey, readKeyFile, readPublicKey, unlockPrivateKey } from '../disk/keyfile.ts'
import { newPassphrase } from '../disk/passphrase.ts'
import { needHome } from '../profile/home.ts'
import { UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

const USAGE = 'asfaleia key new [--out FILE] [--passphrase], asfaleia key list, or asfaleia key FILE'

const HELP = `usage: ${USAGE}

\`new\` makes an ed25519 key for this alone: the private part in FILE, for nobody but you, and the public part in
FILE.pub; without --out in your profile's folder, where \`asfaleia me\` finds it. A key that is public on a code host is
your name to everybody: who sees which key receives, a relay for one, would know who you are.
\`list\` shows what your SSH agent has and what each key can do. FILE shows the key in it, a private or a public one.
Nothing is ever written over.

  --out FILE    where to write a new key; \`asfaleia key --out FILE\` does the same in silence
  --passphrase  encrypt it by a passphrase, which is asked for on the terminal, or is in the file that
                ASFALEIA_PASSPHRASE_FILE names
  --json        one JSON object on stdout; with \`list\` one for each key
  -h, --help    this text
`

/** Whose key it is should not stand in it: ssh-keygen would write the user's and the machine's name. */
const COMMENT = 'asfaleia'
const WHY = 'a key for this alone names you to nobody; the one that is public on a code host would name you to every relay'

export async function run(argv: string[], io: Io): Promise<number> {
  const options = { out: { type: 'string' }, passphrase: { type: 'boolean' }, json: { type: 'boolean' } } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options, words: 1 })
  if (given === undefined) return EXIT.ok
  const { out, passphrase = false, json = false } = given.values
  const [word] = given.positionals
  const makes = word === 'new' || (word === undefined && out !== undefined)
  if (!makes && (word === undefined || out !== undefined || passphrase)) {
    throw new UsageError('new, list or the FILE to show is wanted; --out and --passphrase are for a new one', { hint: USAGE })
  }
  if (word === 'list') await list(json, io)
  else if (makes) await make(out, word === 'new', passphrase, json, io)
  else tell(await loadPublicPart(word!, io), undefined, json, io)
  return EXIT.ok
}

function tell(key: SshKey, file: string | undefined, json: boolean, io: Io): void {
  const line = `${key.type} ${Buffer.from(key.blob).toString('base64')}`
  const fingerprint = formatFingerprint(key.fingerprint)
  io.stdout.write(
    json ? `${formatJson({ public: line, fingerprint, ...(file !== undefined && { file }) })}\n` : `${line}\n${fingerprint}\n`,
  )
}

async function loadPublicPart(path: string, io: Io): Promise<SshKey> {
  const file = await readKeyFile(path)
  if (isPrivateKey(file)) return (await unlockPrivateKey(file, path, io)).public
  return readPublicKey(file.bytes.toString('latin1'), path)
}

async function make(out: string | undefined, talks: boolean, encrypts: boolean, json: boolean, io: Io): Promise<void> {
  const path = out ?? needHome(io.env).keyFile
  const passphrase = encrypts ? await newPassphrase('passphrase for the new key', 'without --passphrase a key has none', io) : undefined
  if (out === undefined) await makeFolder(dirname(path))
  const key = await writeKey(path, passphrase)
  tell(key, path, json, io)
  if (!talks) return
  const lock = encrypts ? '' : '; it has no passphrase (--passphrase asks for one)'
  io.stderr.write(`asfaleia: made ${sanitizeLine(path)} and ${sanitizeLine(path)}.pub${lock}\nasfaleia: ${WHY}\n`)
}

async function writeKey(path: string, passphrase: string | undefined): Promise<SshKey> {
  const { file, public: line } = generatePrivateKey(COMMENT, passphrase)
  await writeNew(path, file, 0o600)
  try {
    await writeNew(`${path}.pub`, `${line}\n`, 0o644)
  } catch (error) {
    await rm(path)
    throw error
  }
  return readPublicKey(line, 'the new key')
}

/** What a key in an agent can do: none of them decrypts, since an agent only signs. */
const USES = {
  signs: 'signs',
  touch: 'signs when touched',
  none: 'cannot be used: of another type, or too weak',
} as const

async function list(json: boolean, io: Io): Promise<void> {
  const keys = await listAgent(findAgent(io), io)
  for (const each of keys) io.stdout.write(json ? `${formatJson(describe(each))}\n` : `${row(each)}\n`)
  if (keys.length === 0)
    io.stderr.write('asfaleia: the SSH agent holds no key, or is locked; `ssh-add FILE` adds one, `ssh-add -X` unlocks\n')
  else if (!json) {
    io.stderr.write(
      'asfaleia: --key agent:SHA256:… names one. The agent never gives a key away, and so none decrypts: with them you log in\n',
    )
    io.stderr.write('asfaleia: by signature, and receive by an encryption key that `asfaleia me` makes and your card certifies\n')
  }
}

function useOf({ key }: AgentKey): keyof typeof USES {
  if (key === undefined) return 'none'
  return key.type.startsWith('sk-') ? 'touch' : 'signs'
}

function describe(each: AgentKey): object {
  const { key, type, certificate, comment } = each
  return { fingerprint: key === undefined ? null : formatFingerprint(key.fingerprint), type, certificate, use: useOf(each), comment }
}

function row(each: AgentKey): string {
  const { key, type, comment } = each
  const name = key === undefined ? '-'.padEnd(50) : formatFingerprint(key.fingerprint)
  return `${name}  ${type}  ${USES[useOf(each)]}  ${sanitizeLine(comment.slice(0, 200))}`.trimEnd()
}
