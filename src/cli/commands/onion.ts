/** `asfaleia onion`: one's keys for onion services that only let some people in. */
import { isOnion } from '../../transport/address.ts'
import { openCommandLine } from '../program/arguments.ts'
import { findControls } from '../talk/diagnosis.ts'
import { handToTor, Onions, parseOnionKey, takeFromTor } from '../profile/onions.ts'
import { needHome } from '../profile/home.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

const USAGE = 'asfaleia onion add LINE|-, asfaleia onion list, or asfaleia onion remove ADDRESS'

const HELP = `usage: ${USAGE}

Keys for onion services that only let some people in. LINE is what the operator's \`asfaleia client add\` printed; prefer \`-\`,
standard input, since a command line shows in \`ps\`. The key is kept in your profile, and handed to tor by its control port
whenever that service is dialled; where tor's control port cannot be asked, it says what to put where for tor.

  --json              one JSON object a line on stdout
  -h, --help          this text

ASFALEIA_TOR_CONTROL names tor's control port or socket; unix:/run/tor/control and 127.0.0.1:9051 where it is not set. This
user must be able to read tor's cookie (on Debian: be of the group debian-tor).
`

export async function run(argv: string[], io: Io): Promise<number> {
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options: { json: { type: 'boolean' } } as const })
  if (given === undefined) return EXIT.ok
  const [verb, word, ...more] = given.positionals
  const json = given.values.json === true
  if (more.length > 0 || (verb === 'list') !== (word === undefined)) throw new UsageError('add, list or remove is wanted', { hint: USAGE })
  const onions = new Onions(needHome(io.env).onionFolder)
  switch (verb) {
    case 'add': {
      const key = parseOnionKey(word === '-' ? await readLine(io) : word!)
      await onions.add(key)
      const known = await handToTor(key, findControls(io))
      io.stdout.write(json ? `${formatJson({ address: key.address, tor: known })}\n` : `added ${key.address}\n`)
      if (!known) {
        io.stderr.write(
          'asfaleia: tor’s control port did not take it. For a tor that cannot be asked, copy this file to NAME.auth_private in\n',
        )
        io.stderr.write(`asfaleia: its ClientOnionAuthDir, and reload it: ${sanitizeLine(onions.path(key.address))}\n`)
      }
      return EXIT.ok
    }
    case 'list':
      for (const address of await onions.list()) io.stdout.write(json ? `${formatJson({ address })}\n` : `${address}\n`)
      return EXIT.ok
    case 'remove': {
      if (!isOnion(word!)) throw new UsageError('the ADDRESS is no onion address')
      await onions.remove(word!)
      await takeFromTor(word!, findControls(io))
      io.stdout.write(json ? `${formatJson({ address: word! })}\n` : `removed ${word!}\n`)
      return EXIT.ok
    }
  }
  throw new UsageError('add, list or remove is wanted', { hint: USAGE })
}

async function readLine(io: Io): Promise<string> {
  let text = ''
  for await (const chunk of io.stdin.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > 4_096) throw new CliError('standard input is too long for a key')
  }
  return text
}
