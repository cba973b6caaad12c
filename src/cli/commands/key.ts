/**
 * `asfaleia key`: makes an SSH key, shows one, or lists the keys of the SSH agent. The relay never sees these files;
 * ssh-keygen makes the same.
 */
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { AgentKey } from '../../auth/agent.ts'
import { findRsaFault } from '../../auth/rsa.ts'
import { formatFingerprint, type SshKey } from '../../auth/ssh-key.ts'
import { readCommandLine } from '../program/arguments.ts'
import { makeFolder, writeNew } from '../disk/file.ts'
import { findAgent, listAgent } from '../profile/identity.ts'
import { isPrivateKey, readKeyFile, unlockPrivateKey } from '../disk/keyfile.ts'
import { readPublicKey } from '../disk/public-key.ts'
import { newPassphrase, PASSPHRASE_VARIABLE } from '../disk/passphrase.ts'
import { needHome } from '../profile/home.ts'
import { UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Options, Page } from '../program/page.ts'

const OUT_OPTIONS = {
  out: { value: 'FILE', about: 'the file for the private key; FILE.pub gets the public key' },
  passphrase: { about: 'encrypt the private key with a passphrase' },
} as const satisfies Options

export const page = {
  name: 'key',
  words: ['[FILE]'],
  usages: ['key FILE', 'key --out FILE [--passphrase]'],
  options: OUT_OPTIONS,
  shared: { json: { about: 'print one JSON object; with `list`, one for each key' } },
  variables: { ...PASSPHRASE_VARIABLE, SSH_AUTH_SOCK: 'the socket of the SSH agent' },
  text: `
    Shows the public key and fingerprint of a private or public key in FILE. With --out, makes a new key, as \`key new\` does, but
    prints no advice.`,
  verbs: {
    new: {
      summary: 'make a new SSH key',
      options: OUT_OPTIONS,
      text: `
        Makes an ed25519 key. Without --out, it goes into the folder of your profile, and \`asfaleia me\` uses it. Existing files are never
        overwritten.

        Use a key that you use for nothing else: anyone who sees a key that is public on a code host, the relay included, knows who you
        are.`,
      examples: [['make a key for your profile', 'asfaleia key new']],
    },
    list: {
      summary: 'list the keys of your SSH agent and their uses',
      examples: [['list the keys of the agent', 'asfaleia key list']],
    },
  },
  examples: [['show the public key and fingerprint of a key', 'asfaleia key ~/.ssh/id_ed25519.pub']],
} as const satisfies Page

/** The same for everyone: ssh-keygen would write the names of the user and the machine. */
const COMMENT = 'asfaleia'
const WHY = 'use this key for nothing else: a key that is public on a code host tells every relay who you are'

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const json = given.values.json === true
  switch (given.verb) {
    case 'list':
      await list(json, io)
      return EXIT.ok
    case 'new':
      await make(given.values.out, true, given.values.passphrase === true, json, io)
      return EXIT.ok
    case undefined: {
      const [path] = given.words
      const { out, passphrase } = given.values
      if ((path === undefined) === (out === undefined) || (path !== undefined && passphrase === true))
        throw new UsageError('expected new, list, or the FILE of a key to show', { hint: given.hint })
      if (path !== undefined) tell(await loadPublicPart(path, io), undefined, json, io)
      else await make(out, false, passphrase === true, json, io)
      return EXIT.ok
    }
  }
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
  return readPublicKey(file.bytes, { name: path, isFile: true })
}

async function make(out: string | undefined, advises: boolean, encrypts: boolean, json: boolean, io: Io): Promise<void> {
  const path = out ?? needHome(io.env).keyFile
  const passphrase = encrypts
    ? await newPassphrase('passphrase for the new key', 'without --passphrase, the key has no passphrase', io)
    : undefined
  if (out === undefined) await makeFolder(dirname(path))
  const key = await writeKey(path, passphrase)
  tell(key, path, json, io)
  if (!advises) return
  const lock = encrypts ? '' : '; the key has no passphrase (--passphrase asks for one)'
  io.stderr.write(`asfaleia: made ${sanitizeLine(path)} and ${sanitizeLine(path)}.pub${lock}\nasfaleia: ${WHY}\n`)
}

async function writeKey(path: string, passphrase: string | undefined): Promise<SshKey> {
  const { generatePrivateKey } = await import('../../auth/private-key.ts')
  const { file, public: line } = generatePrivateKey(COMMENT, passphrase)
  await writeNew(path, file, 0o600)
  try {
    await writeNew(`${path}.pub`, `${line}\n`, 0o644)
  } catch (error) {
    await rm(path)
    throw error
  }
  return readPublicKey(line, { name: 'the new key' })
}

/** The uses of a key in an agent. None decrypts, because an agent only signs. */
const USES = {
  signs: 'signs',
  touch: 'signs when touched',
} as const

async function list(json: boolean, io: Io): Promise<void> {
  const keys = await listAgent(findAgent(io), io)
  for (const each of keys) io.stdout.write(json ? `${formatJson(describe(each))}\n` : `${row(each)}\n`)
  if (keys.length === 0)
    io.stderr.write('asfaleia: the SSH agent has no key, or is locked; `ssh-add FILE` adds a key, `ssh-add -X` unlocks the agent\n')
  else if (!json) {
    io.stderr.write('asfaleia: --key agent:SHA256:… selects a key. The agent never gives a key away, so its keys only sign: you log in\n')
    io.stderr.write('asfaleia: with a signature, and receive with an encryption key that `asfaleia me` makes and your card certifies\n')
  }
}

const useOf = (key: SshKey): keyof typeof USES => (key.type.startsWith('sk-') ? 'touch' : 'signs')

function describe(each: AgentKey): object {
  const { key, type, certificate, comment } = each
  return {
    fingerprint: key === undefined ? null : formatFingerprint(key.fingerprint),
    type,
    certificate,
    use: key === undefined ? 'none' : useOf(key),
    comment,
  }
}

/** Says why a key in the agent cannot be used. */
function whyNot(blob: Uint8Array): string {
  switch (findRsaFault(blob)) {
    case 'rsa-size':
      return 'cannot be used: its size is not between 2,048 and 8,192 bits'
    case 'rsa-exponent':
      return 'cannot be used: its public exponent is not an odd number from 65,537 to 33 bits'
    case undefined:
      return 'cannot be used: unsupported type, or too weak'
  }
}

function row(each: AgentKey): string {
  const { key, type, comment, blob } = each
  const name = key === undefined ? '-'.padEnd(50) : formatFingerprint(key.fingerprint)
  return `${name}  ${type}  ${key === undefined ? whyNot(blob) : USES[useOf(key)]}  ${sanitizeLine(comment.slice(0, 200))}`.trimEnd()
}
