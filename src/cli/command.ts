/**
 * The commands by name. A command loads its module when it runs, so that no command pays for the start of another.
 * Must not touch the process: streams, environment and signal come as `Io`.
 */
import { PACKAGE_VERSION } from '../version.ts'
import { refuseCommand, refuseOption } from './program/arguments.ts'
import { printError, UsageError } from './program/error.ts'
import { EXIT } from './program/exit.ts'
import { formatExamples, formatRows, joinBlocks, section, wrap } from './program/help.ts'
import type { Io, Run } from './program/io.ts'
import type { Entry, Example, Page } from './program/page.ts'

interface Module {
  readonly page: Page
  readonly run: Run
}

export interface Command {
  /** Describes the command in the list of commands. */
  readonly summary: string
  readonly load: () => Promise<Module>
  /** Keeps running if the reader of its standard output is gone. */
  readonly stays?: true
}

type Commands = Readonly<Record<string, Command>>

/** The commands under their headings, in the order in which a person meets them. */
const SECTIONS: Readonly<Record<string, Commands>> = {
  'talk to people': {
    me: { summary: 'make your profile and show your contact card', load: () => import('./commands/me.ts') },
    contact: { summary: 'store contacts and compare safety words with them', load: async () => (await import('./people.ts')).contact },
    send: { summary: 'send a message or a file', load: async () => (await import('./people.ts')).send },
    get: { summary: 'show the messages that wait for you', load: async () => (await import('./people.ts')).get },
    chat: { summary: 'chat on the whole terminal or line by line', load: () => import('./commands/chat.ts') },
    group: { summary: 'make, change and leave groups of contacts', load: async () => (await import('./people.ts')).group },
    profile: { summary: 'carry your profile to another device', load: () => import('./commands/profile.ts') },
    join: { summary: 'join a closed relay by an invite', load: () => import('./commands/join.ts') },
    page: { summary: "write the web page, or compare a relay's with it", load: () => import('./commands/page.ts') },
  },
  keys: {
    key: { summary: 'make an SSH key or show one', load: () => import('./commands/key.ts') },
  },
  'run a relay': {
    start: { summary: 'run a relay and an onion service in front of it', load: () => import('./commands/start.ts'), stays: true },
    relay: { summary: 'run the relay alone, behind a tor that you configure', load: () => import('./commands/relay.ts'), stays: true },
    doctor: { summary: 'check whether this machine can leak memory of a relay', load: () => import('./commands/doctor.ts') },
    address: { summary: "show the relay's onion address", load: () => import('./commands/address.ts') },
  },
  'operate a relay': {
    status: { summary: 'show the state of a relay on this machine', load: () => import('./commands/status.ts') },
    backup: { summary: "write the onion service's keys to one encrypted file", load: () => import('./commands/backup.ts') },
    restore: { summary: 'restore the onion service from a backup', load: () => import('./commands/restore.ts') },
    admit: { summary: 'choose which keys may log in', load: () => import('./commands/admit.ts') },
    invite: { summary: 'let a person find the onion service', load: () => import('./commands/invite.ts') },
    member: { summary: 'list and remove those who can find it', load: () => import('./commands/member.ts') },
    rotate: { summary: 'move the relay to a new address', load: () => import('./commands/rotate.ts') },
    panic: { summary: 'erase everything at once', load: () => import('./commands/panic.ts') },
  },
  'set up your shell': {
    completion: { summary: 'print completions for a shell, or the man page', load: loadCompletion },
  },
}

/** The commands that lists show. */
export const COMMANDS: Commands = Object.freeze(Object.assign({}, ...Object.values(SECTIONS)) as Commands)

/** Former names of commands, which still work: `join`, `invite` and `member` replace them. */
const FORMER: Commands = Object.freeze({
  client: { summary: 'choose who can find the onion service', load: () => import('./commands/client.ts') },
  onion: { summary: 'store your keys for closed onion services', load: () => import('./commands/onion.ts') },
})

const EXAMPLES: readonly Example[] = [
  ['make your profile and show the link to your contact card', 'asfaleia me --name Alice --relay ADDRESS.onion --link'],
  ['run a relay of your own', 'asfaleia start'],
]

/** Gives the pages of all commands to the completion command. */
async function loadCompletion(): Promise<Module> {
  const { createRun, page } = await import('./commands/completion.ts')
  return { page, run: createRun(readPages) }
}

/** Loads the page of every command. */
export function readPages(): Promise<readonly Entry[]> {
  return Promise.all(Object.values(COMMANDS).map(async ({ summary, load }) => ({ summary, page: (await load()).page })))
}

const HINT = 'see `asfaleia --help`'

function buildOverview(): string {
  return joinBlocks([
    ['usage: asfaleia COMMAND [OPTION …]'],
    ['A chat relay behind a Tor onion service, and its client.'],
    ...Object.entries(SECTIONS).map(([heading, commands]) =>
      section(heading, formatRows(Object.entries(commands).map(([name, { summary }]) => [name.padEnd(12), summary]))),
    ),
    section(
      'options',
      formatRows([
        ['-h, --help', 'show this text; after a command, the text of that command'],
        ['-V, --version', 'show the version'],
      ]),
    ),
    formatExamples(EXAMPLES),
    wrap('`asfaleia COMMAND --help` explains a command.', ''),
  ])
}

/** Returns the command that a command line names, or undefined. */
export function findCommand(argv: readonly string[]): Command | undefined {
  const [name = ''] = argv
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : Object.hasOwn(FORMER, name) ? FORMER[name] : undefined
}

/** Runs the command that the command line names. Never throws; returns the exit code. */
export async function runCommand(argv: readonly string[], io: Io): Promise<number> {
  try {
    const [name, ...rest] = argv
    if (name === '--help' || name === '-h') return print(io, buildOverview())
    if (name === '--version' || name === '-V') return print(io, `${PACKAGE_VERSION}\n`)
    if (name === undefined) throw new UsageError('the command is missing', { hint: HINT })
    const command = findCommand(argv)
    if (command === undefined) {
      throw name.startsWith('-')
        ? refuseOption(name.split('=')[0]!, ['help', 'version'], HINT)
        : refuseCommand(name, '', Object.keys(COMMANDS), HINT)
    }
    const { run } = await command.load()
    return await run(rest, io)
  } catch (error) {
    return printError(io, error)
  }
}

function print(io: Io, text: string): number {
  io.stdout.write(text)
  return EXIT.ok
}
