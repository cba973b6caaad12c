/**
 * The commands by name. A command's module is loaded only when it is called, so that none of them
 * pays for another. Must not touch the process: streams, environment and signal come as `Io`.
 */
import { PACKAGE_VERSION } from '../version.ts'
import { printError, UsageError } from './program/error.ts'
import { EXIT } from './program/exit.ts'
import type { Io, Run } from './program/io.ts'

export interface Command {
  readonly about: string
  readonly load: () => Promise<{ readonly run: Run }>
  /** Goes on when nobody reads its standard output any more. */
  readonly stays?: true
}

export const COMMANDS: Readonly<Record<string, Command>> = Object.freeze({
  start: { about: 'run a relay and an onion service in front of it', load: () => import('./commands/start.ts'), stays: true },
  relay: { about: 'run the relay alone, for a tor that is set up by hand', load: () => import('./commands/relay.ts'), stays: true },
  doctor: { about: 'look for what could let something of a relay out of its memory', load: () => import('./commands/doctor.ts') },
  status: { about: 'show how a relay of this machine is', load: () => import('./commands/status.ts') },
  key: { about: 'make an SSH key, or show one', load: () => import('./commands/key.ts') },
  me: { about: 'make your profile, and show your contact card', load: () => import('./commands/me.ts') },
  contact: { about: 'take up contacts, and compare safety words', load: () => import('./commands/contact.ts') },
  group: { about: 'make groups of contacts, and leave them', load: () => import('./commands/group.ts') },
  chat: { about: 'talk, on the whole terminal or line by line', load: () => import('./commands/chat.ts') },
  onion: { about: 'keep keys for onion services that only let some people in', load: () => import('./commands/onion.ts') },
  send: { about: 'send a message', load: () => import('./commands/send.ts') },
  get: { about: 'show the messages that wait', load: () => import('./commands/get.ts') },
  address: { about: "show the relay's onion address", load: () => import('./commands/address.ts') },
  backup: { about: "put the onion service's keys into one encrypted file, or check one", load: () => import('./commands/backup.ts') },
  restore: { about: 'make the onion service anew from a backup', load: () => import('./commands/restore.ts') },
  rotate: { about: 'move the relay to a new address', load: () => import('./commands/rotate.ts') },
  client: { about: 'say who may find the onion service', load: () => import('./commands/client.ts') },
  completion: { about: 'print completions for a shell, or the man page', load: loadCompletion },
  panic: { about: 'wipe everything, now', load: () => import('./commands/panic.ts') },
})

/** It reads the table that it stands in. */
async function loadCompletion(): Promise<{ readonly run: Run }> {
  const { createRun } = await import('./commands/completion.ts')
  return { run: createRun(COMMANDS) }
}

const HINT = 'see `asfaleia --help`'

export const HELP = `usage: asfaleia COMMAND [OPTION …]

A chat relay behind a Tor onion service, and its client.

${Object.entries(COMMANDS)
  .map(([name, { about }]) => `  ${name.padEnd(10)} ${about}`)
  .join('\n')}

  -h, --help     this text; after a command, that command's
  -V, --version  the version
`

/** The command that a command line names; undefined for none. */
export function findCommand(argv: readonly string[]): Command | undefined {
  const [name = ''] = argv
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
}

/** Runs the command that the command line names. Never throws; the number is the exit code. */
export async function runCommand(argv: readonly string[], io: Io): Promise<number> {
  try {
    const [name, ...rest] = argv
    if (name === '--help' || name === '-h') return say(io, HELP)
    if (name === '--version' || name === '-V') return say(io, `${PACKAGE_VERSION}\n`)
    if (name === undefined) throw new UsageError('no command is given', { hint: HINT })
    const command = findCommand(argv)
    if (command === undefined) throw new UsageError('there is no such command', { hint: HINT })
    const { run } = await command.load()
    return await run(rest, io)
  } catch (error) {
    return printError(io, error)
  }
}

function say(io: Io, text: string): number {
  io.stdout.write(text)
  return EXIT.ok
}
