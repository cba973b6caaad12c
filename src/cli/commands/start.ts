/**
 * `asfaleia start`: a relay for people who have none yet. It runs the relay and, where there is a tor
 * program, a tor with an onion service in front of it, shows how far Tor is, and prints the address and
 * what to type next. Only this process starts children; the relay never does. It ends what it started and
 * keeps nothing but Tor's own state: the service's keys, in a folder of mode 0700.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { openCommandLine } from '../program/arguments.ts'
import { setName } from '../start/name.ts'
import { freeAddress } from '../start/port.ts'
import { drawCode } from '../program/qr.ts'
import { startRelay } from '../start/relay-process.ts'
import { createScreen, type Screen } from '../program/progress.ts'
import { EXIT } from '../program/exit.ts'
import { aborted, type Io } from '../program/io.ts'
import { torModules } from '../../tor/process.ts'
import { keepTor, ONION_PORT, type Service } from '../start/upkeep.ts'

const USAGE = 'asfaleia start [--tcp ADDR] [--operator ADDR] [--state FOLDER] [--no-tor]'

const HELP = `usage: ${USAGE}

Runs a relay and, where the tor program is installed, an onion service in front of it.

  --tcp ADDR       the relay's door for this machine (127.0.0.1:3308, or a free port if that is taken)
  --operator ADDR  the operator's pages (127.0.0.1:9090, or a free port if that is taken)
  --state FOLDER   Tor's own state and the onion service's keys, nothing of the relay's
                   (ASFALEIA_STATE, or state/tor below the current folder)
  --no-tor         on this machine only
  -h, --help       this text

For tests, ASFALEIA_TORRC_EXTRA names a file whose lines are added to Tor's configuration.
`

const OPTIONS = {
  tcp: { type: 'string' },
  operator: { type: 'string' },
  state: { type: 'string' },
  'no-tor': { type: 'boolean' },
} as const

/** @throws UsageError, or CliError if the relay cannot run; ends with 0 on SIGINT and SIGTERM. */
export async function run(argv: string[], io: Io): Promise<number> {
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options: OPTIONS, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values: options } = given
  // Short, since the paths of unix sockets end at 107 bytes; mkdtemp makes it ours alone.
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
    const modules = torModules(io)
    if (modules !== undefined) return await serveOnion(doors, { ...paths, pow: modules.includes('pow: yes') }, io, screen)
    screen.say('there is no tor program here: the relay cannot be reached from elsewhere')
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
      screen.say('the relay runs, on this machine only; Ctrl-C stops it')
      if (tcp !== '') io.stdout.write(nextCommands(io, localName(tcp)))
      await Promise.race([relay.ended, aborted(io.signal)])
    }
    return EXIT.ok
  } finally {
    await relay.stop()
  }
}

async function serveOnion(doors: readonly string[], service: Service, io: Io, screen: Screen): Promise<number> {
  // Doors that only tor is to reach. It names the circuit of each connection, for the relay's budgets.
  const onionDoors = ['--unix', service.raw, '--http', `unix:${service.http}`, '--proxy', 'unix,http']
  const control = `unix:${join(service.tor, 'control')}`
  const args = [...doors, ...onionDoors, '--name-file', service.nameFile, '--tor-control', control]
  const stopping = new AbortController()
  const over = AbortSignal.any([io.signal, stopping.signal])
  const relay = startRelay(args, io, screen)
  // Rejects when a relay ends that was not told to.
  const failed = Promise.withResolvers<never>()
  relay.ended.catch(failed.reject)
  const torOver = (async () => {
    await Promise.race([relay.ready, aborted(over)])
    if (over.aborted) return
    screen.say('the relay runs; Tor is starting, which can take a minute; Ctrl-C stops both')
    await keepTor(service, io, screen, over, {
      async onReachable(name, socks) {
        await setName(service.nameFile, name, await relay.ready, over)
        screen.say('the onion service can be reached')
        io.stdout.write(`\n${name}\n\n${drawCode(name, io)}\n${nextCommands(io, `${name}:${ONION_PORT}`, socks)}`)
      },
      async onNoNetwork() {
        screen.say('Tor does not get on: is there a network, and does it let Tor through? It keeps trying')
        // `localhost` is no name of a relay that others can reach: whoever can listen on a client's machine could use it
        // to pass our challenges on. So it is given only now, and taken away as soon as the service is known.
        const tcp = await relay.ready
        await setName(service.nameFile, 'localhost', tcp, over)
        screen.say('until it does, the relay runs on this machine only, by the name localhost')
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

/** Clients take 127.0.0.1 for the name `localhost`; this spells out what stands in the challenge. */
function localName(tcp: string): string {
  return `localhost:${tcp.split(':').at(-1)}`
}

function nextCommands(io: Io, relay: string, socks?: string): string {
  // `npm start` runs in the checkout, where npx finds our program and its Node.
  const program = io.env['npm_lifecycle_event'] === undefined ? 'asfaleia' : 'npx asfaleia'
  const where = `--relay ${relay}${socks === undefined || socks === '127.0.0.1:9050' ? '' : ` --socks ${socks}`}`
  const key = 'my-key'
  return [
    'next, in another terminal, a message to yourself:',
    '',
    ...(existsSync(`${key}.pub`) ? [] : [`  ${program} key --out ${key}`]),
    `  ${program} send ${where} --key ${key} ${key}.pub 'hello'`,
    `  ${program} get ${where} --key ${key}`,
    '',
    '',
  ].join('\n')
}
