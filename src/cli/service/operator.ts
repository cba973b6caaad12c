/**
 * Asks the operator listener of a relay on this machine, at loopback or a unix socket. Any program may listen there, so
 * the answer is bounded and the caller checks it.
 */
import { request } from 'node:http'
import { SETTINGS } from '../../config/setting.ts'
import type { Address } from '../../transport/address.ts'
import { parseAddress } from '../../config/value.ts'
import { systemCode } from '../disk/system.ts'
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

/**
 * Finds the listener's address: by the option, the environment or the default.
 * @throws {UsageError} with `usage` as its hint
 */
export function parseOperator(flag: string | undefined, io: Pick<Io, 'env'>, usage: string): Address {
  let address: Address | undefined
  try {
    address = parseAddress(flag ?? io.env['ASFALEIA_OPERATOR'] ?? SETTINGS.operator.fallback!)
  } catch (error) {
    throw new UsageError(`--operator: ${(error as Error).message}`, { hint: usage })
  }
  if (address === undefined)
    throw new UsageError('--operator is off', { hint: 'give the relay an --operator address, and name the same address here' })
  return address
}

export interface Question {
  readonly path: string
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
}

/** Returns the text of an answer with status 200. @throws {CliError} with exit code 69 for any other outcome */
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
  } catch (error) {
    throw describeSilence(address, error)
  }
}

function describeSilence(address: Address, error: unknown): CliError {
  const exitCode = EXIT.unreachable
  const where = address.kind === 'unix' ? address.path : `${address.host}:${address.port}`
  const running = 'check that the relay is running, and that this is its --operator address'
  switch (systemCode(error)) {
    case 'EACCES':
    case 'EPERM':
      return new CliError(`permission denied: this user may not connect to ${where}`, {
        exitCode,
        hint: "run this as the relay's user or as root; in the appliance: `docker compose exec relay asfaleia …`",
      })
    case 'ENOENT':
      return new CliError(`no relay answers at the operator address`, {
        exitCode,
        hint: `${running}; there is no socket ${where}. If the socket of a running relay was deleted, \`deploy/upgrade\` makes it anew and keeps the messages`,
      })
  }
  return new CliError('no relay answers at the operator address', { exitCode, hint: running })
}
