/**
 * A client of ssh-agent (draft-ietf-sshm-ssh-agent): which keys it holds, and signatures by them; the private keys
 * never leave it. An agent is a stranger, too: what it says is bounded and parsed strictly, and a signature is
 * checked before anybody gets it.
 * Must not keep a connection, since an agent that was started anew at the same socket goes on being the same, nor
 * add, remove or unlock anything.
 */
import { connect } from 'node:net'
import { CodedError } from '../protocol/coded-error.ts'
import { ProtocolError } from '../protocol/errors.ts'
import { parseKeyBlob, type SshKey } from './ssh-key.ts'
import { encodeString, encodeUint32, WireError, WireReader } from './ssh-wire.ts'
import { encodeSignature, encodeSigned, verifySignature } from './sshsig.ts'

export type AgentErrorCode =
  | 'no-agent'
  | 'not-allowed'
  | 'no-answer'
  | 'gone'
  | 'broken-agent'
  | 'refused'
  | 'no-such-key'
  | 'sha1-only'
  | 'untouched'
  | 'bad-signature'

const TEXTS = {
  'no-agent': 'no SSH agent listens there',
  'not-allowed': 'the SSH agent’s socket is not ours to use',
  'no-answer': 'the SSH agent did not answer in time',
  gone: 'the SSH agent ended the connection without an answer',
  'broken-agent': 'what answers there does not speak as an SSH agent does',
  refused: 'the SSH agent refused',
  'no-such-key': 'the SSH agent does not hold that key, or is locked',
  'sha1-only': 'the SSH agent signs by SHA-1 alone, which nobody takes any more',
  untouched: 'the security key signed without being touched, which no relay takes',
  'bad-signature': 'the SSH agent gave a signature that is not of that key',
} as const satisfies Record<AgentErrorCode, string>

export class AgentError extends CodedError<AgentErrorCode> {
  constructor(code: AgentErrorCode) {
    super('AgentError', code, TEXTS[code])
  }
}

export interface AgentKey {
  /** Undefined for a key that docs/protocol.md, section 3, does not have: of another type, or too weak. */
  readonly key: SshKey | undefined
  /** The name in the key's blob: for a certificate, the certificate's. */
  readonly type: string
  /** What the agent calls the key: its blob, or a certificate's. */
  readonly blob: Uint8Array
  readonly certificate: boolean
  /** As the agent has it: from anywhere, of any length, and no text to show as it is. */
  readonly comment: string
}

/** The bytes that an agent and its clients send at most in one message, as OpenSSH's do. */
const MOST_BYTES = 262_144
/** ssh tries far fewer. */
const MOST_KEYS = 512

const FAILURE = 5
const REQUEST_IDENTITIES = 11
const IDENTITIES_ANSWER = 12
const SIGN_REQUEST = 13
const SIGN_RESPONSE = 14
const EXTENSION_FAILURE = 28
/** The flag of a SIGN_REQUEST by an RSA key; without it an agent signs by SHA-1. */
const RSA_SHA2_512 = 4
const USER_PRESENT = 0x01

export interface AgentOptions {
  /** The agent's unix socket: what SSH_AUTH_SOCK names. */
  readonly path: string
  readonly signal?: AbortSignal
  /** Milliseconds until a list must have come; 10,000 by default. */
  readonly timeout?: number
  /** Milliseconds until a signature must have come, which a person may have to touch or allow; 120,000 by default. */
  readonly signTimeout?: number
}

export class SshAgent {
  readonly #options: AgentOptions

  constructor(options: AgentOptions) {
    this.#options = options
  }

  /**
   * Everything it holds, in its order. A locked agent says that it holds nothing.
   * @throws {AgentError} and the signal's reason
   */
  async list(): Promise<AgentKey[]> {
    const answer = await this.#ask(Uint8Array.of(REQUEST_IDENTITIES), IDENTITIES_ANSWER, this.#options.timeout ?? 10_000)
    return read(answer, (reader) => {
      const count = reader.uint32()
      if (count > MOST_KEYS) throw new AgentError('broken-agent')
      return Array.from({ length: count }, () => readKey(reader))
    })
  }

  /**
   * @param agentKey one of {@link list}'s, with a key
   * @returns the blob of an SSHSIG over `message` by SHA-512, checked; the key in it is the plain one
   * @throws {AgentError} and the signal's reason
   */
  async sign(agentKey: AgentKey, namespace: string, message: Uint8Array): Promise<Uint8Array> {
    const { key } = agentKey
    if (key === undefined) throw new TypeError('that key cannot be used')
    const request = Buffer.concat([
      Uint8Array.of(SIGN_REQUEST),
      encodeString(agentKey.blob),
      encodeString(encodeSigned(namespace, 'sha512', message)),
      encodeUint32(key.material.kind === 'rsa' ? RSA_SHA2_512 : 0),
    ])
    const answer = await this.#ask(request, SIGN_RESPONSE, this.#options.signTimeout ?? 120_000).catch(async (error: unknown) => {
      // A refusal has no reason: that the key is gone, or the agent locked, is seen by asking for the list.
      if (error instanceof AgentError && error.code === 'refused' && !(await this.#holds(agentKey))) throw new AgentError('no-such-key')
      throw error
    })
    const signature = read(answer, (reader) => reader.string())
    const blob = encodeSignature(key, namespace, checkForm(key, signature))
    if (!(await verifySignature({ blob, key, namespace, message }))) throw new AgentError('bad-signature')
    return blob
  }

  async #holds({ blob }: AgentKey): Promise<boolean> {
    return (await this.list()).some((each) => Buffer.compare(each.blob, blob) === 0)
  }

  /** @returns what follows the type of an answer that has `expected` */
  async #ask(request: Uint8Array, expected: number, timeout: number): Promise<Uint8Array> {
    const { path, signal } = this.#options
    const deadline = AbortSignal.timeout(timeout)
    signal?.throwIfAborted()
    let answer: Uint8Array
    try {
      const stop = signal === undefined ? deadline : AbortSignal.any([deadline, signal])
      answer = await exchange(path, request, stop)
    } catch (error) {
      if (error instanceof AgentError) throw error
      signal?.throwIfAborted()
      throw new AgentError(deadline.aborted ? 'no-answer' : reasonOf(error))
    }
    const type = answer[0]
    if (type === FAILURE || type === EXTENSION_FAILURE) throw new AgentError('refused')
    if (type !== expected) throw new AgentError('broken-agent')
    return answer.subarray(1)
  }
}

/** One request, one answer, on a connection of its own. */
async function exchange(path: string, request: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const socket = connect({ path, signal })
  try {
    socket.write(encodeString(request))
    const chunks: Uint8Array[] = []
    let got = 0
    let size: number | undefined
    for await (const chunk of socket) {
      chunks.push(chunk as Uint8Array)
      got += (chunk as Uint8Array).length
      if (got < 4) continue
      size ??= 4 + Buffer.concat(chunks).readUInt32BE()
      if (size === 4 || size > 4 + MOST_BYTES || got > size) throw new AgentError('broken-agent')
      if (got === size) return Buffer.concat(chunks).subarray(4)
    }
    throw new AgentError('gone')
  } finally {
    socket.destroy()
  }
}

function reasonOf(error: unknown): AgentErrorCode {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EACCES':
    case 'EPERM':
      return 'not-allowed'
    case 'EPIPE':
    case 'ECONNRESET':
      return 'gone'
  }
  return 'no-agent'
}

/** What `parse` makes of all of an answer. */
function read<Value>(answer: Uint8Array, parse: (reader: WireReader) => Value): Value {
  const reader = new WireReader(answer)
  try {
    const value = parse(reader)
    reader.end()
    return value
  } catch (error) {
    if (error instanceof WireError) throw new AgentError('broken-agent')
    throw error
  }
}

function readKey(reader: WireReader): AgentKey {
  const blob = Uint8Array.from(reader.string())
  const comment = new TextDecoder().decode(reader.string())
  const type = new WireReader(blob).name()
  const key = parseUsable(blob)
  return { key, type, blob, certificate: type.includes('-cert-'), comment }
}

function parseUsable(blob: Uint8Array): SshKey | undefined {
  try {
    return parseKeyBlob(blob)
  } catch (error) {
    if (error instanceof ProtocolError) return undefined
    throw error
  }
}

/**
 * Tells apart what verifySignature only refuses, and gives an RSA signature the zeros that some agents take from
 * its front (RFC 8332, section 3, wants it as long as the modulus).
 */
function checkForm(key: SshKey, signature: Uint8Array): Uint8Array {
  return read(signature, (reader) => {
    const algorithm = reader.name()
    const body = reader.string()
    if (key.material.kind === 'rsa') {
      if (algorithm === 'ssh-rsa') throw new AgentError('sha1-only')
      const missing = Math.max(0, key.material.modulus.length - body.length)
      return Buffer.concat([encodeString(algorithm), encodeString(Buffer.concat([Buffer.alloc(missing), body]))])
    }
    if (key.material.application !== undefined) {
      const flags = reader.uint8()
      reader.uint32() // the counter
      if ((flags & USER_PRESENT) === 0) throw new AgentError('untouched')
    }
    return signature
  })
}
