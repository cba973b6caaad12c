/** Makes a running tor reload its folders, or stop, through its control port. The relay itself never does. */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseAddress } from '../../config/value.ts'
import type { Address } from '../../transport/address.ts'
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
/**
 * Tor numbers the versions of a descriptor by the second in which it uploads them, about 0.2 s after a reload, and the
 * directories refuse a second one of the same second. Tor does not repeat it: clients would see the last change only an
 * hour or two later. So the next command must not reload tor within that second.
 */
const PUBLISHING_MS = 2_000

/** Finds the control port, by the option or the environment; undefined if neither names one. @throws {UsageError} */
export function findControl(flag: string | undefined, { env }: Pick<Io, 'env'>, usage: string): Address | undefined {
  try {
    return parseAddress(flag ?? (env['ASFALEIA_TOR_CONTROL'] || 'off'))
  } catch (error) {
    throw new UsageError(`--tor-control: ${(error as Error).message}`, { hint: usage })
  }
}

/** Has tor read the changed folders: by its control port, if there is one; otherwise prints what makes tor read them. */
export async function tellTor(control: Address | undefined, { env, stderr }: Pick<Io, 'env' | 'stderr'>): Promise<void> {
  if (control !== undefined) {
    await signalTor(control, 'RELOAD')
    await sleep(PUBLISHING_MS)
  }
  // There, `entry` watches the folders (docs/appliance.md).
  else if (env['ASFALEIA_APPLIANCE'] === 'on') stderr.write('asfaleia: tor takes the change over within a few seconds\n')
  else stderr.write('asfaleia: tor does not know yet: reload it (SIGHUP), or give --tor-control\n')
}

/**
 * Sends SIGNAL (control-spec.txt): RELOAD rereads torrc and the services' folders, HALT stops tor at once.
 * @throws {CliError} if tor did not accept it
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
      throw new CliError("tor's control port does not answer", {
        hint: 'check that tor is running, and that --tor-control is its ControlPort',
      })
    case 'unauthorized':
      throw new CliError("tor's control port refuses this user", {
        hint: 'set CookieAuthentication 1 in torrc, and let this user read the cookie file',
      })
    case 'refused':
      throw new CliError(`tor refused SIGNAL ${signal}`, { hint: 'see its log' })
  }
}
