/**
 * `asfaleia start`: runs a relay and, if the tor program is installed, a tor with an onion service in front of it.
 * Shows the progress of tor, and prints the address and the next commands. Only this process starts children; the
 * relay never does. It ends the children that it started, and leaves only tor's state on the disk: the service's
 * keys, in a folder of mode 0700.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { readCommandLine } from '../program/arguments.ts'
import { setName } from '../start/name.ts'
import { freeAddress } from '../start/port.ts'
import { drawCode } from '../program/qr.ts'
import { startRelay } from '../start/relay-process.ts'
import { createScreen, type Screen } from '../program/progress.ts'
import { EXIT } from '../program/exit.ts'
import { aborted, type Io } from '../program/io.ts'
import { torModules } from '../../tor/process.ts'
import { keepTor, ONION_PORT, type Service } from '../start/upkeep.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'start',
  options: {
    tcp: {
      value: 'ADDRESS',
      about: 'where the relay listens for clients on this machine',
      fallback: '127.0.0.1:3308, or a free port if it is taken',
    },
    operator: { value: 'ADDRESS', about: 'where the operator listener is', fallback: '127.0.0.1:9090, or a free port if it is taken' },
    state: {
      value: 'FOLDER',
      about: "tor's state and the keys of the onion service; the relay itself stores nothing",
      variable: 'ASFALEIA_STATE',
      fallback: 'state/tor in the current folder',
    },
    'no-tor': { about: 'run the relay for this machine only' },
  },
  variables: { ASFALEIA_TORRC_EXTRA: "for tests: a file with lines to add to tor's configuration" },
  text: `
    Runs a relay. If the tor program is installed, it also runs tor with an onion service in front of the relay, and prints the address
    of the service. Ctrl-C stops both.`,
  examples: [
    ['run a relay and its onion service', 'asfaleia start'],
    ['try the relay on this machine, without tor', 'asfaleia start --no-tor'],
  ],
} as const satisfies Page

/** Ends with 0 on SIGINT and SIGTERM. @throws {UsageError} @throws {CliError} if the relay cannot run */
export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values: options } = given
  // A short path, because the path of a unix socket has 107 bytes at most; mkdtemp makes it private.
  const runtime = await mkdtemp(join(io.env['XDG_RUNTIME_DIR'] ?? tmpdir(), 'asfaleia-'))
  const state = resolve(options.state ?? io.env['ASFALEIA_STATE'] ?? join('state', 'tor'))
  const paths = {
    state,
    tor: join(runtime, 'tor'),
    raw: join(runtime, 'raw'),
    http: join(runtime, 'http'),
    hostname: join(state, 'onion', 'hostname'),
    nameFile: join(runtime, 'name'),
  }
  const { tcp = await freeAddress(3308), operator = await freeAddress(9090) } = options
  const doors = ['--tcp', tcp, '--operator', operator]
  const screen = createScreen(io)
  try {
    if (options['no-tor'] === true) return await serveLocally(doors, io, screen)
    const modules = torModules(io.env['PATH'])
    if (modules !== undefined) return await serveOnion(doors, { ...paths, pow: modules.includes('pow: yes') }, io, screen)
    screen.say('tor is not installed, so the relay can be reached from this machine only')
    screen.say('hint: install Tor (on Debian: apt-get install tor) and start again')
    return await serveLocally(doors, io, screen)
  } finally {
    await rm(runtime, { recursive: true, force: true })
  }
}

async function serveLocally(doors: readonly string[], io: Io, screen: Screen): Promise<number> {
  const relay = startRelay([...doors, '--unix', 'off', '--http', await freeAddress(8080), '--name', 'localhost'], io, screen)
  try {
    const tcp = await Promise.race([relay.ready, aborted(io.signal)])
    if (tcp !== undefined) {
      screen.say('the relay is running, for this machine only; Ctrl-C stops it')
      if (tcp !== '') io.stdout.write(nextCommands(io, localName(tcp)))
      await Promise.race([relay.ended, aborted(io.signal)])
    }
    return EXIT.ok
  } finally {
    await relay.stop()
  }
}

async function serveOnion(doors: readonly string[], service: Service, io: Io, screen: Screen): Promise<number> {
  // Doors for tor alone. tor names the circuit of each connection, for the relay's budgets.
  const onionDoors = ['--unix', service.raw, '--http', `unix:${service.http}`, '--proxy', 'unix,http']
  const control = `unix:${join(service.tor, 'control')}`
  const args = [...doors, ...onionDoors, '--name-file', service.nameFile, '--tor-control', control]
  const stopping = new AbortController()
  const over = AbortSignal.any([io.signal, stopping.signal])
  const relay = startRelay(args, io, screen)
  // Rejects when the relay ends by itself.
  const failed = Promise.withResolvers<never>()
  relay.ended.catch(failed.reject)
  const torOver = (async () => {
    await Promise.race([relay.ready, aborted(over)])
    if (over.aborted) return
    screen.say('the relay is running; Tor is starting, which can take a minute; Ctrl-C stops both')
    await keepTor(service, io, screen, over, {
      async onReachable(name, socks) {
        await setName(service.nameFile, name, await relay.ready, over)
        screen.say('the onion service is reachable')
        io.stdout.write(`\n${name}\n\n${await drawCode(name, io)}\n${nextCommands(io, `${name}:${ONION_PORT}`, socks)}`)
      },
      async onNoNetwork() {
        screen.say('Tor makes no progress: is there a network, and does it let Tor through? Tor keeps trying')
        // A public relay must not go by the name `localhost`: a program that listens on a client's machine could use
        // the name to pass the relay's challenges on. So the relay goes by it only until the service is reachable.
        const tcp = await relay.ready
        await setName(service.nameFile, 'localhost', tcp, over)
        screen.say('until then, the relay runs for this machine only, under the name localhost')
        if (tcp !== '') io.stdout.write(nextCommands(io, localName(tcp)))
      },
    })
  })()
  try {
    await Promise.race([torOver, failed.promise, aborted(io.signal)])
    return EXIT.ok
  } finally {
    stopping.abort()
    await torOver.catch(() => {})
    await relay.stop()
  }
}

/** The address with `localhost`, the name that stands in the challenge, instead of 127.0.0.1. */
function localName(tcp: string): string {
  return `localhost:${tcp.split(':').at(-1)}`
}

function nextCommands(io: Io, relay: string, socks?: string): string {
  // `npm start` runs in the checkout, and there npx finds the program and its Node.
  const program = io.env['npm_lifecycle_event'] === undefined ? 'asfaleia' : 'npx asfaleia'
  const where = `--relay ${relay}${socks === undefined || socks === '127.0.0.1:9050' ? '' : ` --socks ${socks}`}`
  const key = 'my-key'
  return [
    'Next, send a message to yourself in another terminal:',
    '',
    ...(existsSync(`${key}.pub`) ? [] : [`  ${program} key --out ${key}`]),
    `  ${program} send ${where} --key ${key} ${key}.pub 'hello'`,
    `  ${program} get ${where} --key ${key}`,
    '',
    '',
  ].join('\n')
}
