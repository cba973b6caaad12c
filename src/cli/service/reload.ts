/** Tells a running tor, by its control port, to look at its folders again or to end. The relay itself never does. */
import { type Address, parseAddress } from '../../config/value.ts'
import { authenticate, converse } from '../../tor/control.ts'
import { CliError, UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import type { Options } from '../program/page.ts'

export const CONTROL_OPTION = {
  'tor-control': {
    value: 'ADDRESS',
    about: "tor's control port or socket, to have tor act on the change at once",
    variable: 'ASFALEIA_TOR_CONTROL',
  },
} as const satisfies Options

const TIMEOUT_MS = 10_000

/** The control port that flag or environment names; undefined for none. @throws {UsageError} */
export function findControl(flag: string | undefined, { env }: Pick<Io, 'env'>, usage: string): Address | undefined {
  try {
    return parseAddress(flag ?? (env['ASFALEIA_TOR_CONTROL'] || 'off'))
  } catch (error) {
    throw new UsageError(`--tor-control: ${(error as Error).message}`, { hint: usage })
  }
}

/**
 * SIGNAL of control-spec.txt: RELOAD reads torrc and the services' folders again, HALT ends tor at once.
 * @throws {CliError} where tor did not take it
 */
export async function signalTor(control: Address, signal: 'RELOAD' | 'HALT'): Promise<void> {
  const done = await converse(control, TIMEOUT_MS, async (ask) => {
    if (!(await authenticate(ask))) return 'unauthorized'
    return (await ask(`SIGNAL ${signal}`)).ok ? 'done' : 'refused'
  })
  switch (done) {
    case 'done':
      return
    case undefined:
      throw new CliError("tor's control port does not answer", { hint: 'is tor running? --tor-control is its ControlPort' })
    case 'unauthorized':
      throw new CliError("tor's control port does not let us", {
        hint: 'CookieAuthentication 1, and this user must be able to read the cookie',
      })
    case 'refused':
      throw new CliError('tor refused to be told')
  }
}
