/**
 * `asfaleia panic`: everything is to be gone, now. Asks nothing. Each part is tried whatever became of the others: the
 * relay's messages, tokens and connections; the onion service's keys; the tor that has them in memory.
 */
import { openCommandLine } from '../program/arguments.ts'
import { askOperator, OPERATOR_HELP, parseOperator } from '../service/operator.ts'
import { CONTROL_HELP, findControl, signalTor } from '../service/reload.ts'
import { destroyService } from '../service/folder.ts'
import { CliError, printError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'

const USAGE = 'asfaleia panic [--keys FOLDER] [--tor-control ADDR]'

const HELP = `usage: ${USAGE}

Has the relay end every connection, erase every message and forget every token, at once and without a question. It goes
on, empty. Ends with 0 only if all that was asked for was done.

${OPERATOR_HELP}
  --keys FOLDER       destroy the onion service's keys as well: the address is gone for good, unless there is a backup.
                      A flash disk, a journal or a snapshot may keep old blocks: only an encrypted disk forgets
${CONTROL_HELP}
                      to end it, after --keys: it has the keys in memory
  -h, --help          this text
`

export async function run(argv: string[], io: Io): Promise<number> {
  const options = {
    operator: { type: 'string' },
    keys: { type: 'string' },
    'tor-control': { type: 'string' },
  } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values } = given
  const { keys } = values
  const operator = parseOperator(values.operator, io, USAGE)
  const control = findControl(values['tor-control'], io, USAGE)
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
    // On its own listener and nowhere else: it must not be a matter of who can reach a door.
    const text = await askOperator(operator, { path: '/panic', method: 'POST', headers: { 'asfaleia-panic': 'now' } }, io.signal)
    if (!isWiped(text)) throw new CliError('what answers at the operator address is no relay', { exitCode: EXIT.unreachable })
    return 'the relay is wiped'
  })
  if (keys !== undefined) {
    await attempt(async () => {
      const rest = await destroyService(keys)
      return `the keys in ${keys} are destroyed${rest.length === 0 ? '' : "; what is no onion service's was left there"}`
    })
    if (control === undefined) {
      io.stderr.write('asfaleia: tor has the keys in its memory until it ends: stop it\n')
    } else {
      await attempt(async () => {
        await signalTor(control, 'HALT')
        return 'tor is ended'
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
