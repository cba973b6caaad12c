/**
 * Values in JSON: messages, contacts, events and errors, as the owner of a profile and its clients exchange them. Bytes,
 * keys and errors are objects with one marked field; everything else is plain.
 */
import { AgentError, type AgentErrorCode } from '../../auth/agent.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { formatKey, parseKey } from '../../client/format/field.ts'
import { MessageError, type MessageErrorCode } from '../../client/format/message.ts'
import { MessengerError, type MessengerErrorCode } from '../../client/messenger/error.ts'
import { RelayError, type RelayErrorCode } from '../../client/wire/error.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { UnwritableError } from '../disk/file.ts'
import { CliError } from '../program/error.ts'

const BYTES = '$bytes'
const KEY = '$key'
const ERROR = '$error'

/** Turns a value into one that JSON can hold. Leaves out functions and undefined fields. */
export function pack(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return { [BYTES]: Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64') }
  if (Array.isArray(value)) return value.map(pack)
  if (value instanceof Error) return { [ERROR]: packError(value) }
  if (isKey(value)) return { [KEY]: formatKey(value) }
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, each]) => each !== undefined && typeof each !== 'function')
      .map(([name, each]) => [name, pack(each)]),
  )
}

/** Turns a value of {@link pack} back. @throws {TypeError} if a marked field is malformed */
export function unpack(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(unpack)
  const fields = value as Readonly<Record<string, unknown>>
  if (BYTES in fields) return new Uint8Array(Buffer.from(needText(fields[BYTES]), 'base64'))
  if (ERROR in fields) return unpackError(fields[ERROR] as PackedError)
  if (KEY in fields) {
    const key = parseKey(needText(fields[KEY]))
    if (key === undefined) throw new TypeError('a malformed key')
    return key
  }
  return Object.fromEntries(Object.entries(fields).map(([name, each]) => [name, unpack(each)]))
}

function needText(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('a text is missing')
  return value
}

function isKey(value: object): value is SshKey {
  return 'blob' in value && value.blob instanceof Uint8Array && 'material' in value
}

interface PackedError {
  readonly name?: unknown
  readonly code?: unknown
  readonly message?: unknown
  readonly seconds?: unknown
  readonly hint?: unknown
  readonly exit?: unknown
}

/** The message of an unknown error may contain anything, so only its name crosses. */
function packError(error: Error): object {
  if (error instanceof CliError) {
    const name = error instanceof UnwritableError ? 'UnwritableError' : 'CliError'
    return { name, message: error.message, hint: error.hint, exit: error.exitCode }
  }
  if (error instanceof CodedError)
    return { name: error.name, code: error.code as string, ...(error instanceof RelayError && { seconds: error.seconds }) }
  // A file that became too short, or is too large.
  if (error instanceof TypeError) return { name: 'TypeError', message: error.message }
  return { name: 'Error' }
}

function unpackError(packed: PackedError): Error {
  const { name, code, message, seconds, hint, exit } = packed ?? {}
  switch (name) {
    case 'CliError':
    case 'UnwritableError': {
      const options = { ...(typeof hint === 'string' && { hint }), ...(typeof exit === 'number' && { exitCode: exit }) }
      return name === 'CliError' ? new CliError(String(message), options) : new UnwritableError(String(message), options)
    }
    case 'RelayError':
      return new RelayError(code as RelayErrorCode, typeof seconds === 'number' ? { seconds } : {})
    case 'MessengerError':
      return new MessengerError(code as MessengerErrorCode)
    case 'MessageError':
      return new MessageError(code as MessageErrorCode)
    case 'AgentError':
      return new AgentError(code as AgentErrorCode)
    case 'TypeError':
      return new TypeError(String(message))
    default:
      return new Error('the owner of the profile failed')
  }
}
