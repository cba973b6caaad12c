/**
 * `asfaleia panic`: erases everything at once, without asking. It tries each part even if another failed: the relay's
 * messages, tokens and connections; the keys of the onion service; the tor process that has the keys in memory.
 */
import { readCommandLine } from '../program/arguments.ts'
import { askOperator, OPERATOR_OPTION, parseOperator } from '../service/operator.ts'
import { CONTROL_OPTION, findControl, signalTor } from '../service/reload.ts'
import { destroyService } from '../service/folder.ts'
import { CliError, printError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'panic',
  options: {
    ...OPERATOR_OPTION,
    keys: {
      value: 'FOLDER',
      about: `also destroy the keys of the onion service in FOLDER: without a backup, the address is lost. A flash disk, a journal or a
        snapshot may still hold old copies; only an encrypted disk protects those`,
    },
    ...CONTROL_OPTION,
  },
  text: `
    The relay closes every connection, erases every message and forgets every token, at once and without asking. Then it goes on,
    empty.

    After --keys, tor still has the keys in memory: with --tor-control, this command ends tor.

    Exits with 0 only if everything succeeded.`,
  examples: [
    ['erase all messages and tokens of the relay', 'asfaleia panic'],
    ['also destroy the keys of the onion service', 'asfaleia panic --keys /var/lib/tor/asfaleia'],
  ],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, hint } = given
  const { keys } = values
  const operator = parseOperator(values.operator, io, hint)
  const control = findControl(values['tor-control'], io, hint)
  const outcomes: number[] = []
  const attempt = async (work: () => Promise<string>): Promise<void> => {
    try {
      io.stdout.write(`${sanitizeLine(await work())}\n`)
      outcomes.push(EXIT.ok)
    } catch (error) {
      outcomes.push(printError(io, error))
    }
  }
  await attempt(async () => {
    // Only the operator listener offers this: the peers of a door must not be able to use it.
    const text = await askOperator(operator, { path: '/panic', method: 'POST', headers: { 'asfaleia-panic': 'now' } }, io.signal)
    if (!isWiped(text)) throw new CliError('the program at the operator address is not a relay', { exitCode: EXIT.unreachable })
    return 'the relay erased everything'
  })
  if (keys !== undefined) {
    await attempt(async () => {
      const rest = await destroyService(keys)
      return `the keys in ${keys} are destroyed${rest.length === 0 ? '' : '; other files in the folder were left untouched'}`
    })
    if (control === undefined) {
      io.stderr.write('asfaleia: tor keeps the keys in memory until it ends: stop tor now\n')
    } else {
      await attempt(async () => {
        await signalTor(control, 'HALT')
        return 'tor has ended'
      })
    }
  }
  return outcomes.find((code) => code !== EXIT.ok) ?? EXIT.ok
}

function isWiped(text: string): boolean {
  try {
    return (JSON.parse(text) as { wiped?: unknown } | null)?.wiped === true
  } catch {
    return false
  }
}
