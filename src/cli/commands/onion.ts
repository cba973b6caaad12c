/** `asfaleia onion`: stores the user's keys for onion services with client authorization. */
import { isOnion } from '../../onion/address.ts'
import { readCommandLine } from '../program/arguments.ts'
import { findControls } from '../talk/diagnosis.ts'
import { handToTor, Onions, parseOnionKey, takeFromTor } from '../profile/onions.ts'
import { needHome } from '../profile/home.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'onion',
  shared: { json: { about: 'print one JSON object a line' } },
  text: `
    Stores your keys for onion services that let only authorized clients in. Whenever asfaleia connects to such a service, it hands
    the key to tor over tor's control port.`,
  variables: {
    ASFALEIA_TOR_CONTROL: `tor's control port or socket, instead of unix:/run/tor/control and 127.0.0.1:9051. Your user must be able to
      read tor's cookie; on Debian, join the group debian-tor`,
  },
  verbs: {
    add: {
      summary: 'store a key',
      words: ['LINE'],
      text: `
        LINE is the line that the operator's \`asfaleia client add\` printed; \`-\` reads it from standard input. Prefer standard input:
        other users of this machine can see the command line in \`ps\`.

        If tor's control port does not take the key, the command says which file to copy for tor.`,
      examples: [['store the key in a file that the operator gave you', 'asfaleia onion add - < alice.auth_private']],
    },
    list: { summary: 'list the services that you have keys for', examples: [['list the services', 'asfaleia onion list']] },
    remove: {
      summary: 'delete the key for a service',
      words: ['ADDRESS'],
      examples: [['delete the key for a service', 'asfaleia onion remove ADDRESS.onion']],
    },
  },
  examples: [['store the key in a file that the operator gave you', 'asfaleia onion add - < alice.auth_private']],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const json = given.values.json === true
  const onions = new Onions(needHome(io.env).onionFolder)
  switch (given.verb) {
    case 'add': {
      const [line] = given.words
      const key = parseOnionKey(line === '-' ? await readLine(io) : line)
      await onions.add(key)
      const isTaken = await handToTor(key, findControls(io))
      io.stdout.write(json ? `${formatJson({ address: key.address, tor: isTaken })}\n` : `added ${key.address}\n`)
      if (!isTaken) {
        io.stderr.write(
          "asfaleia: tor's control port did not take the key. Copy this file to NAME.auth_private in tor's ClientOnionAuthDir,\n",
        )
        io.stderr.write(`asfaleia: and reload tor: ${sanitizeLine(onions.path(key.address))}\n`)
      }
      return EXIT.ok
    }
    case 'list':
      for (const address of await onions.list()) io.stdout.write(json ? `${formatJson({ address })}\n` : `${address}\n`)
      return EXIT.ok
    case 'remove': {
      const [address] = given.words
      if (!isOnion(address)) throw new UsageError('ADDRESS is not an onion address', { hint: given.hint })
      await onions.remove(address)
      await takeFromTor(address, findControls(io))
      io.stdout.write(json ? `${formatJson({ address })}\n` : `removed ${address}\n`)
      return EXIT.ok
    }
  }
}

async function readLine(io: Io): Promise<string> {
  let text = ''
  for await (const chunk of io.stdin.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > 4_096) throw new CliError('standard input is too long for the line of a key')
  }
  return text
}
