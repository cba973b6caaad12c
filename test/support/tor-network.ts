/**
 * A whole Tor network on loopback for tests: five directory authorities that are also its only relays, and as
 * many onion hosts and clients as a test requests. None of its traffic leaves the machine. The order of the
 * start matters: onion hosts and clients start after every authority has a consensus that lists all relays,
 * because earlier ones would back off after a 404.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Address } from '../../src/transport/address.ts'
import { publication, quoted, startTor, type Tor } from '../../src/tor/process.ts'

/** The programs that the network needs: `missing(...TOR_PROGRAMS)` is the reason to skip. */
export const TOR_PROGRAMS = ['tor', 'tor-gencert'] as const

const AUTHORITIES = 5
/** A first consensus takes 13 s on two idle cores, and several times that on a busy machine. */
const DEADLINE_MS = 110_000

export interface TorNetwork {
  /** torrc lines by which any tor joins this network, e.g. for ASFALEIA_TORRC_EXTRA. */
  readonly torrc: string
  /** A client with a SOCKS port, ready to build circuits. @param more lines for its torrc */
  addClient(more?: readonly string[]): Promise<TorClient>
  /** An onion service, reachable when this resolves. */
  addOnionHost(options: OnionHostOptions): Promise<OnionHost>
  /** Ends every tor that this object started, and removes its files. */
  stop(): Promise<void>
}

export interface TorClient {
  readonly socks: { readonly host: string; readonly port: number }
  /** A configuration for TORSOCKS_CONF_FILE. */
  readonly torsocksConf: string
  readonly tor: Tor
  /** Forgets circuits and failed descriptors (SIGNAL NEWNYM). */
  newIdentity(): Promise<void>
}

export interface OnionHostOptions {
  /** The targets of the service's ports. */
  readonly doors: readonly { readonly port: number; readonly target: Address }[]
  /** Begin each connection with a PROXY v1 line that identifies the circuit. */
  readonly proxyHeader?: boolean
  /** Tor's HiddenServiceDir, which stays after the stop; by default, one inside the network's folder. */
  readonly dir?: string
}

export interface OnionHost {
  /** `….onion` */
  readonly onion: string
  /** Tor's `hostname` file. */
  readonly nameFile: string
  /** Kills its tor with SIGKILL. */
  kill(): Promise<void>
  /** Starts a new tor with the same keys; resolves once its descriptor is uploaded. */
  restart(): Promise<void>
}

/**
 * Starts the authorities.
 * @param options.signal aborts the start.
 * @throws TorError if a tor ends, Error if the network is not up in 110 s. Nothing stays behind in either case.
 */
export async function startTorNetwork(options: { readonly signal?: AbortSignal } = {}): Promise<TorNetwork> {
  const part = await openPart()
  try {
    const deadline = AbortSignal.any([AbortSignal.timeout(DEADLINE_MS), ...(options.signal ? [options.signal] : [])])
    return memberOf(await startAuthorities(part.folder, part.launch, deadline), part)
  } catch (error) {
    await part.stop()
    throw error
  }
}

/**
 * Joins the network that the test run shares. A suite adds its own onion hosts and clients; its `stop` ends only those.
 * @param socket `inject('torNetwork')`, see tor-network.setup.ts
 * @throws Error if there is no network
 */
export async function joinTorNetwork(socket: string): Promise<TorNetwork> {
  const torrc = (await connect(socket).setEncoding('utf8').toArray()).join('')
  if (torrc === '') throw new Error('the private Tor network did not start')
  return memberOf(torrc.split('\n'), await openPart())
}

type Launch = typeof startTor

/** A folder and the tors that this process started. */
interface Part {
  readonly folder: string
  readonly launch: Launch
  stop(): Promise<void>
}

async function openPart(): Promise<Part> {
  const folder = await mkdtemp(join(tmpdir(), 'asf-tor-'))
  const tors = new Set<Tor>()
  return {
    folder,
    async launch(...args) {
      const tor = await startTor(...args)
      tors.add(tor)
      void tor.exited.then(() => tors.delete(tor))
      return tor
    },
    async stop() {
      await Promise.all([...tors].map((tor) => tor.stop()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function memberOf(torrc: readonly string[], { folder, launch, stop }: Part): TorNetwork {
  let members = 0
  return {
    torrc: torrc.join('\n'),
    addClient: (more = []) => addClient(join(folder, `client${members++}`), [...torrc, ...more], launch),
    addOnionHost: (options) => addOnionHost(join(folder, `onion${members++}`), torrc, options, launch),
    stop,
  }
}

async function startAuthorities(folder: string, launch: Launch, deadline: AbortSignal): Promise<readonly string[]> {
  const ports = await freePorts(2 * AUTHORITIES)
  const authorities = await Promise.all(
    Array.from({ length: AUTHORITIES }, async (_, n): Promise<Authority> => {
      const dir = join(folder, `auth${n}`)
      const orPort = ports[2 * n]!
      const dirPort = ports[2 * n + 1]!
      return { dir, orPort, dirPort, name: `auth${n}`, ...(await makeKeys(dir, orPort)) }
    }),
  )
  const torrc = [
    ...MEMBER,
    ...authorities.map(
      ({ name, orPort, dirPort, v3ident, fingerprint }) =>
        `DirAuthority ${name} orport=${orPort} no-v2 v3ident=${v3ident} 127.0.0.1:${dirPort} ${fingerprint}`,
    ),
  ]
  // On a busy machine an authority can miss the first vote, and the next one is minutes away.
  while (!(await elect(authorities, torrc, launch, deadline))) deadline.throwIfAborted()
  return torrc
}

interface Authority {
  readonly dir: string
  readonly orPort: number
  readonly dirPort: number
  readonly name: string
  readonly v3ident: string
  readonly fingerprint: string
}

/**
 * Starts the authorities and waits for their first consensus.
 * @returns whether every authority has a consensus that lists all relays; if not, they are stopped and forget
 * it.
 */
async function elect(authorities: readonly Authority[], torrc: readonly string[], launch: Launch, deadline: AbortSignal): Promise<boolean> {
  // Consensuses fall on multiples of the interval on the wall clock, shifted by this offset; the votes come 4 s
  // before.
  const votingOffset = Math.round(Date.now() / 1_000 + LEAD_SECONDS + 4) % VOTING_SECONDS
  const tors = await Promise.all(
    authorities.map(async ({ dir, orPort, dirPort, name }) => {
      const complete = Promise.withResolvers<boolean>()
      const onNodes = (lines: string): void => {
        const relays = lines.split('\n').filter((line) => line.startsWith('r ')).length
        if (relays > 0) complete.resolve(relays >= AUTHORITIES)
      }
      const tor = await launch({
        folder: dir,
        data: join(dir, 'data'),
        torrc: [
          ...torrc,
          ...AUTHORITY,
          `TestingV3AuthVotingStartOffset ${votingOffset}`,
          `Nickname ${name}`,
          `ORPort 127.0.0.1:${orPort}`,
          `DirPort 127.0.0.1:${dirPort}`,
        ],
        // An authority that starts without a network votes without relays.
        holdNetwork: false,
        events: ['NEWCONSENSUS'],
        onEvent: (event) => {
          onNodes(event)
          // An empty consensus also stays for minutes.
          if (!event.includes('\nr ')) complete.resolve(false)
        },
        signal: deadline,
      })
      onNodes((await tor.control.info('ns/all')) ?? '')
      return { tor, dir, complete: complete.promise }
    }),
  )
  const late = delay(VOTES_MS, false, { ref: false })
  const outcomes = await Promise.all(tors.map(({ tor, complete }) => within(deadline, tor, Promise.race([complete, late]))))
  if (outcomes.every(Boolean)) return true
  await Promise.all(
    tors.map(async ({ tor, dir }) => {
      await tor.kill()
      const data = join(dir, 'data')
      const cached = (await readdir(data)).filter((name) => name !== 'keys')
      await Promise.all(cached.map((name) => rm(join(data, name), { recursive: true })))
    }),
  )
  return false
}

/** From the launch to the first votes, by which every authority must be up and have met the others. */
const LEAD_SECONDS = 5
/** Three rounds of votes. */
const VOTES_MS = 35_000
const VOTING_SECONDS = 10

/** torrc lines of every tor in the network. */
const MEMBER = [
  'TestingTorNetwork 1',
  'AssumeReachable 1',
  'PathsNeededToBuildCircuits 0.25',
  'TestingDirAuthVoteExit *',
  'TestingDirAuthVoteGuard *',
  'TestingDirAuthVoteHSDir *',
  'TestingMinExitFlagThreshold 0',
  'V3AuthNIntervalsValid 2',
  'DormantCanceledByStartup 1',
  'ShutdownWaitLength 0',
  // After 100 circuits on loopback tor learns a timeout of 65 ms. A busy machine takes longer: the service then gives up its
  // rendezvous circuits, and the client waits a minute or more for an answer to its introduction.
  'LearnCircuitBuildTimeout 0',
  'CircuitBuildTimeout 10',
] as const

const AUTHORITY = [
  'AuthoritativeDirectory 1',
  'V3AuthoritativeDirectory 1',
  'Address 127.0.0.1',
  'ContactInfo nobody@localhost',
  'ExitPolicy reject *:*',
  'SocksPort 0',
  'V3AuthVotingInterval 300',
  'V3AuthVoteDelay 2',
  'V3AuthDistDelay 2',
  `TestingV3AuthInitialVotingInterval ${VOTING_SECONDS}`,
  'TestingV3AuthInitialVoteDelay 2',
  'TestingV3AuthInitialDistDelay 2',
] as const

async function makeKeys(dir: string, orPort: number): Promise<{ v3ident: string; fingerprint: string }> {
  const data = join(dir, 'data')
  const keys = join(data, 'keys')
  await mkdir(keys, { recursive: true, mode: 0o700 })
  const certificate = join(keys, 'authority_certificate')
  const files = ['-i', join(keys, 'authority_identity_key'), '-s', join(keys, 'authority_signing_key'), '-c', certificate]
  const empty = join(dir, 'empty')
  await writeFile(empty, '')
  // tor-gencert requires a passphrase for its key; the key is discarded with the network.
  await run('tor-gencert', ['--create-identity-key', '--passphrase-fd', '0', '-m', '12', ...files], 'private\n')
  const nobody = `nobody 127.0.0.1:1 ${'f'.repeat(40)}`
  const settings = ['--defaults-torrc', empty, '-f', empty, '--ORPort', String(orPort), '--DataDirectory', data]
  const said = await run('tor', ['--list-fingerprint', '--quiet', ...settings, '--DirAuthority', nobody])
  const v3ident = /^fingerprint ([0-9A-F]{40})$/m.exec(await readFile(certificate, 'utf8'))?.[1]
  const fingerprint = /((?: [0-9A-F]{4}){10})\s*$/.exec(said)?.[1]?.replaceAll(' ', '')
  if (v3ident === undefined || fingerprint === undefined) throw new Error('tor made no keys for an authority')
  return { v3ident, fingerprint }
}

async function addClient(folder: string, torrc: readonly string[], launch: Launch): Promise<TorClient> {
  const deadline = AbortSignal.timeout(DEADLINE_MS)
  const ready = Promise.withResolvers<void>()
  const tor = await launch({
    folder,
    // Without extended errors, tor makes a client that lacks a key wait for two minutes.
    torrc: [...torrc, 'SocksPort 127.0.0.1:auto ExtendedErrors'],
    events: ['STATUS_CLIENT'],
    onEvent: (event) => {
      if (/ BOOTSTRAP PROGRESS=100\b/.test(event)) ready.resolve()
    },
    signal: deadline,
  })
  await within(deadline, tor, ready.promise)
  const port = Number(/"127\.0\.0\.1:(\d+)"/.exec((await tor.control.info('net/listeners/socks')) ?? '')?.[1])
  const torsocksConf = join(folder, 'torsocks.conf')
  await writeFile(
    torsocksConf,
    ['TorAddress 127.0.0.1', `TorPort ${port}`, 'OnionAddrRange 127.42.42.0/24', 'AllowOutboundLocalhost 1', 'IsolatePID 0', ''].join('\n'),
  )
  return {
    socks: { host: '127.0.0.1', port },
    torsocksConf,
    tor,
    newIdentity: async () => {
      await tor.control.ask('SIGNAL NEWNYM')
    },
  }
}

async function addOnionHost(folder: string, torrc: readonly string[], options: OnionHostOptions, launch: Launch): Promise<OnionHost> {
  const { doors, proxyHeader = false, dir = join(folder, 'service') } = options
  const lines = [
    ...torrc,
    'SocksPort 0',
    `HiddenServiceDir ${quoted(dir)}`,
    ...doors.map(({ port, target }) => {
      switch (target.kind) {
        case 'tcp':
          return `HiddenServicePort ${port} ${target.host}:${target.port}`
        case 'unix':
          return `HiddenServicePort ${port} unix:${quoted(target.path)}`
      }
    }),
    ...(proxyHeader ? ['HiddenServiceExportCircuitID haproxy'] : []),
  ]
  const start = async (): Promise<Tor> => {
    const deadline = AbortSignal.timeout(DEADLINE_MS)
    const published = publication()
    const tor = await launch({ folder, torrc: lines, events: ['HS_DESC'], onEvent: published.onEvent, signal: deadline })
    await within(deadline, tor, published.done)
    return tor
  }
  let tor = await start()
  const nameFile = join(dir, 'hostname')
  return {
    onion: (await readFile(nameFile, 'utf8')).trim(),
    nameFile,
    kill: () => tor.kill(),
    async restart() {
      await tor.kill()
      tor = await start()
    },
  }
}

/** Waits for `done`, but fails if the tor ends or the deadline passes first. */
async function within<T>(deadline: AbortSignal, tor: Tor, done: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(new Error('the private Tor network did not come up in time'))
  if (deadline.aborted) onAbort()
  deadline.addEventListener('abort', onAbort, { once: true })
  const ended = tor.exited.then(({ code, signal }) => {
    throw new Error(`a tor of the private network ended (${signal ?? code})`)
  })
  return Promise.race([done, late, ended]).finally(() => deadline.removeEventListener('abort', onAbort))
}

async function run(program: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  child.stdin.end(input)
  const [chunks, [code]] = await Promise.all([child.stdout.setEncoding('utf8').toArray(), once(child, 'close')])
  if (code !== 0) throw new Error(`${program} ended with code ${code}`)
  return chunks.join('')
}

/**
 * Returns ports for the authorities, which must be fixed before they start. They lie below the system's
 * ephemeral range, so that no `port 0` of another test gets one of them.
 */
async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = 12_000 + Math.floor(Math.random() * 18_000)
    if (ports.includes(port)) continue
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    server.close()
    await once(server, 'close')
    ports.push(port)
  }
  return ports
}
