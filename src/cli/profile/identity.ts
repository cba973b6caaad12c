/**
 * Loads the user's identity: the key that `--key` names, from a file or the SSH agent. Each signature connects to the
 * agent anew, so the error is exact if the agent was restarted or locked, or the security key unplugged.
 */
import { AgentError, type AgentErrorCode, type AgentKey, SshAgent } from '../../auth/agent.ts'
import { PrivateKeyError } from '../../auth/key-error.ts'
import { formatFingerprint, type SshKey } from '../../auth/ssh-key.ts'
import { type Identity, identityOf, signingIdentity } from '../../client/format/identity.ts'
import { describePrivateKey, isPrivateKey, type KeyFile, openPrivateKey, readKeyFile } from '../disk/keyfile.ts'
import { readPublicKey } from '../disk/public-key.ts'
import { CliError, UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'

const HINTS: Readonly<Record<AgentErrorCode, string>> = {
  'no-agent': 'start one with `eval "$(ssh-agent)"`, which sets SSH_AUTH_SOCK, and add a key with `ssh-add FILE`',
  'not-allowed': 'SSH_AUTH_SOCK names the socket of another user',
  'no-answer': 'it may be waiting for you to touch the security key or to answer a question',
  gone: 'check that it still runs: `ssh-add -l`',
  'broken-agent': 'check SSH_AUTH_SOCK: it must name the socket of an SSH agent',
  refused: 'you may have denied its question, unplugged the security key or locked the agent; `ssh-add -l` lists its keys',
  'no-such-key': 'add it with `ssh-add FILE`, or unlock the agent with `ssh-add -X`',
  'sha1-only': 'use a newer agent, or an ed25519 key',
  untouched: 'the key was made with no-touch-required; make another one',
  'bad-signature': 'do not use this agent',
}

/** The most keys that a hint lists. */
const MOST_NAMED = 4

/** Returns the agent at SSH_AUTH_SOCK. @throws {CliError} if it is not set */
export function findAgent(io: Pick<Io, 'env' | 'signal'>): SshAgent {
  const path = io.env['SSH_AUTH_SOCK']
  if (path === undefined || path === '') throw new CliError('there is no SSH agent: SSH_AUTH_SOCK is not set', { hint: HINTS['no-agent'] })
  return new SshAgent({ path, signal: io.signal })
}

/** Lists the agent's keys. @throws {CliError} */
export async function listAgent(agent: SshAgent, io: Pick<Io, 'signal'>): Promise<AgentKey[]> {
  return telling(() => agent.list(), io)
}

async function telling<Value>(ask: () => Promise<Value>, io: Pick<Io, 'signal'>): Promise<Value> {
  try {
    return await ask()
  } catch (error) {
    if (io.signal.aborted) throw new CliError('interrupted')
    throw error instanceof AgentError ? new CliError(error.message, { hint: HINTS[error.code] }) : error
  }
}

/**
 * Loads an identity.
 * @param spec FILE of a private key; FILE.pub of a key in the agent; `agent`, for its only key; or `agent:SHA256:…`
 * @returns an identity that signs; `opens` is empty if the key cannot decrypt or is in the agent
 * @throws {CliError}, and so does its `sign`
 */
export async function loadIdentity(spec: string, io: Io): Promise<Identity> {
  const named = /^agent(?:[: ](.*))?$/s.exec(spec)
  if (named !== null) return loadFromAgent(named[1], io)
  const file = await readKeyFile(spec)
  return isPrivateKey(file) ? loadFromFile(file, spec, io) : loadByPublicPart(file, spec, io)
}

async function loadFromFile(file: KeyFile, path: string, io: Io): Promise<Identity> {
  try {
    return identityOf(await openPrivateKey(file, path, io))
  } catch (error) {
    if (!(error instanceof PrivateKeyError)) throw error
    if (error.key === undefined) throw describePrivateKey(error, path)
    // The file of a FIDO key: the agent may be able to use the token, as it does for ssh.
    const held = io.env['SSH_AUTH_SOCK'] ? await find(error.key, findAgent(io), io) : undefined
    if (held === undefined) throw describePrivateKey(error, path)
    return held
  }
}

async function loadByPublicPart(file: KeyFile, path: string, io: Io): Promise<Identity> {
  const key = readPublicKey(file.bytes, { name: path, isFile: true, wants: 'private' })
  const identity = await find(key, findAgent(io), io)
  if (identity !== undefined) return identity
  throw new CliError(`the SSH agent does not hold the key of ${path}, or is locked`, {
    hint: `${HINTS['no-such-key']}; or name the private key's file, without .pub`,
  })
}

async function find(key: SshKey, agent: SshAgent, io: Io): Promise<Identity | undefined> {
  const fingerprint = formatFingerprint(key.fingerprint)
  const held = (await listUsable(agent, io)).keys.get(fingerprint)
  return held === undefined ? undefined : identify(held, agent, io)
}

async function loadFromAgent(fingerprint: string | undefined, io: Io): Promise<Identity> {
  if (fingerprint !== undefined && !/^SHA256:[A-Za-z0-9+/]{43}$/.test(fingerprint)) {
    throw new UsageError('--key agent:… expects a fingerprint, such as agent:SHA256:…', {
      hint: '`asfaleia key list` shows those of the agent',
    })
  }
  const agent = findAgent(io)
  const { keys, unusable } = await listUsable(agent, io)
  const held = fingerprint === undefined ? [...keys.values()] : [...keys.values()].filter((each) => nameOf(each) === fingerprint)
  const [only] = held
  if (only !== undefined && held.length === 1) return identify(only, agent, io)
  if (held.length > 1) {
    const names =
      held.length > MOST_NAMED ? '`asfaleia key list` shows them' : held.map((each) => `agent:${nameOf(each)}${comment(each)}`).join(', ')
    throw new CliError(`the SSH agent holds ${held.length} keys`, { hint: `choose one with --key: ${names}` })
  }
  if (fingerprint !== undefined) throw new CliError('the SSH agent does not hold that key, or is locked', { hint: HINTS['no-such-key'] })
  throw unusable > 0
    ? new CliError('the SSH agent holds no key that Asfaleia can use', {
        hint: 'use an ed25519, RSA (2048 bits or more), ECDSA or security key; `asfaleia key list` lists those of the agent',
      })
    : new CliError('the SSH agent holds no key, or is locked', { hint: HINTS['no-such-key'].replace('it', 'one') })
}

type Usable = AgentKey & { readonly key: SshKey }

/** Lists the usable keys by fingerprint, preferring a plain key to its certificates. */
async function listUsable(agent: SshAgent, io: Io): Promise<{ keys: Map<string, Usable>; unusable: number }> {
  const all = await listAgent(agent, io)
  const usable = all.filter((each): each is Usable => each.key !== undefined)
  const keys = new Map<string, Usable>()
  for (const each of usable) if (!each.certificate || !keys.has(nameOf(each))) keys.set(nameOf(each), each)
  return { keys, unusable: all.length - usable.length }
}

function nameOf({ key }: Usable): string {
  return formatFingerprint(key.fingerprint)
}

function comment({ comment }: AgentKey): string {
  return comment === '' ? '' : ` (${sanitizeLine(comment.slice(0, 64))})`
}

function identify(held: Usable, agent: SshAgent, io: Io): Promise<Identity> {
  return signingIdentity({
    key: held.key,
    sign(namespace, message) {
      if (held.key.type.startsWith('sk-')) io.stderr.write('asfaleia: touch your security key\n')
      return telling(() => agent.sign(held, namespace, message), io)
    },
  })
}
