/**
 * A client of ssh-agent (draft-ietf-sshm-ssh-agent): lists the agent's keys, and asks it for signatures. Private keys
 * never leave the agent. The client does not trust the agent: it bounds and strictly parses every answer, and checks a
 * signature before returning it.
 *
 * It opens a connection for each request, because an agent may be restarted at the same socket. It must not add, remove
 * or unlock a key.
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
  'no-agent': 'no SSH agent listens at that socket',
  'not-allowed': 'no permission to use the SSH agent’s socket',
  'no-answer': 'the SSH agent did not answer in time',
  gone: 'the SSH agent closed the connection without an answer',
  'broken-agent': 'the program at the SSH agent’s socket does not speak the agent protocol',
  refused: 'the SSH agent refused the request',
  'no-such-key': 'the SSH agent does not hold that key, or is locked',
  'sha1-only': 'the SSH agent signs only with SHA-1, which relays refuse',
  untouched: 'the security key signed without a touch, which relays refuse',
  'bad-signature': 'the SSH agent returned a signature that is not by that key',
} as const satisfies Record<AgentErrorCode, string>

export class AgentError extends CodedError<AgentErrorCode> {
  constructor(code: AgentErrorCode) {
    super('AgentError', code, TEXTS[code])
  }
}

export interface AgentKey {
  /**
   * Undefined if the protocol cannot use the key (docs/protocol.md, section 3): its type is unknown, or it is too weak.
   */
  readonly key: SshKey | undefined
  /** The type's name in the blob: for a certificate, the certificate's type. */
  readonly type: string
  /** The agent's name for the key: the blob of the key, or of its certificate. */
  readonly blob: Uint8Array
  readonly certificate: boolean
  /** As the agent sends it: untrusted text of any length, which must be escaped before it is shown. */
  readonly comment: string
}

/** The limit of one message in bytes, as in OpenSSH. */
const MOST_BYTES = 262_144
/** Keys in a list. ssh tries far fewer. */
const MOST_KEYS = 512

const FAILURE = 5
const REQUEST_IDENTITIES = 11
const IDENTITIES_ANSWER = 12
const SIGN_REQUEST = 13
const SIGN_RESPONSE = 14
const EXTENSION_FAILURE = 28
/** The flag of a SIGN_REQUEST for an RSA key. Without it an agent signs with SHA-1. */
const RSA_SHA2_512 = 4
const USER_PRESENT = 0x01

export interface AgentOptions {
  /** The agent's unix socket: the value of SSH_AUTH_SOCK. */
  readonly path: string
  readonly signal?: AbortSignal
  /** Milliseconds to wait for a list; 10,000 by default. */
  readonly timeout?: number
  /** Milliseconds to wait for a signature, which may need a person's touch or consent; 120,000 by default. */
  readonly signTimeout?: number
}

export class SshAgent {
  readonly #options: AgentOptions

  constructor(options: AgentOptions) {
    this.#options = options
  }

  /**
   * Lists the agent's keys, in its order. A locked agent lists none.
   *
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
   * Asks for a signature of a message, and checks it.
   *
   * @param agentKey from {@link list}; its `key` must be defined
   * @returns the blob of an SSHSIG with SHA-512; the key inside is the plain key, also for a certificate
   * @throws {AgentError} and the signal's reason
   */
  async sign(agentKey: AgentKey, namespace: string, message: Uint8Array): Promise<Uint8Array> {
    const { key } = agentKey
    if (key === undefined) throw new TypeError('the protocol cannot use that key')
    const request = Buffer.concat([
      Uint8Array.of(SIGN_REQUEST),
      encodeString(agentKey.blob),
      encodeString(encodeSigned(namespace, 'sha512', message)),
      encodeUint32(key.material.kind === 'rsa' ? RSA_SHA2_512 : 0),
    ])
    const answer = await this.#ask(request, SIGN_RESPONSE, this.#options.signTimeout ?? 120_000).catch(async (error: unknown) => {
      // A refusal gives no reason. The list shows whether the key is gone or the agent is locked.
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

  /** Sends a request. Returns the content of the answer, if its type is `expected`. */
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

/** Sends one request and returns its answer, on a new connection. */
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

/** Parses a whole answer: `parse` must leave no byte over. */
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
 * Checks a signature's form, so that the common faults get errors of their own: verifySignature would only refuse them.
 * Pads an RSA signature with the leading zeros that some agents omit (RFC 8332, section 3: it is as long as the
 * modulus).
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
