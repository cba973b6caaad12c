/**
 * Asks the operator's listener of a relay on this machine: loopback or a unix socket, nothing else. Whoever listens
 * there may be anybody: the answer is bounded, and for the caller to check.
 */
import { request } from 'node:http'
import { SETTINGS } from '../../config/setting.ts'
import { type Address, parseAddress } from '../../config/value.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import type { Options } from '../program/page.ts'

const TIMEOUT_MS = 10_000
const MAX_BYTES = 65_536

export const OPERATOR_OPTION = {
  operator: {
    value: 'ADDRESS',
    about: "the address of the relay's operator listener: 127.0.0.1:PORT or unix:PATH",
    variable: 'ASFALEIA_OPERATOR',
    fallback: SETTINGS.operator.fallback!,
  },
} as const satisfies Options

/** Where the listener is, by flag, environment and default. @throws {UsageError} with `usage` as its hint */
export function parseOperator(flag: string | undefined, io: Pick<Io, 'env'>, usage: string): Address {
  let address: Address | undefined
  try {
    address = parseAddress(flag ?? io.env['ASFALEIA_OPERATOR'] ?? SETTINGS.operator.fallback!)
  } catch (error) {
    throw new UsageError(`--operator: ${(error as Error).message}`, { hint: usage })
  }
  if (address === undefined)
    throw new UsageError('--operator: is off', { hint: 'the relay has to run with an operator listener to be asked' })
  return address
}

export interface Question {
  readonly path: string
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
}

/** The text of an answer of status 200. @throws {CliError} with exit code 69 for everything else */
export async function askOperator(address: Address, question: Question, signal: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const where = address.kind === 'unix' ? { socketPath: address.path } : { host: address.host, port: address.port }
  const asked = request({ ...where, ...question, agent: false, signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) })
  asked.on('error', reject)
  asked.on('response', (response) => {
    let text = ''
    response.setEncoding('utf8')
    response.on('error', reject)
    response.on('data', (chunk: string) => {
      text += chunk
      if (text.length > MAX_BYTES) response.destroy(new Error('too long'))
    })
    response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error('refused'))))
  })
  asked.end()
  try {
    return await promise
  } catch {
    throw new CliError('no relay answers at the operator address', {
      exitCode: EXIT.unreachable,
      hint: 'is it running? its --operator is the address to ask',
    })
  }
}
