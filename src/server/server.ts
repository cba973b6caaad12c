/** Wires a relay together: the only file that names every part of it. */
import { createSecretKey } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Config } from '../config/config.ts'
import type { PageMode } from '../config/setting.ts'
import type { Address } from '../transport/address.ts'
import { type Handing, listenForSuccessor, type Predecessor } from '../handover/predecessor.ts'
import { findPredecessor, HandoverError, type Succession } from '../handover/successor.ts'
import type { Log } from '../log.ts'
import { type Operator, startOperator } from '../operator/http.ts'
import { startWatch } from '../operator/watch.ts'
import type { Door } from '../relay/counters.ts'
import { Relay, type RelaySecrets } from '../relay/relay.ts'
import { parseTorReport, readTorState, type TorState } from '../tor/state.ts'
import { serveSocket } from '../transport/socket.ts'
import type { Offer } from '../transport/page.ts'
import { createPublicDoor } from '../transport/upgrade.ts'
import { waitForAddress } from './address-wait.ts'
import { AdmittedFile } from './admitted-file.ts'
import { Doors } from './doors.ts'
import { checkHandoverFolder, readHandoverSecret } from './handover-secret.ts'
import { asConfigError } from './listen-problem.ts'
import { followNameFile } from './name-file.ts'
import { readPageFile } from './page-file.ts'
import { startProbing } from './probing.ts'
import { ReportFile } from './report-file.ts'

/** For an address to become free when its process ends or hands it over. */
const FREE_MS = 10_000

/** The parts of the program that the relay names or serves. */
export interface Program {
  readonly version: string
  /** The file of the web page, which the build makes. */
  readonly page: string
}

export interface RunningServer {
  readonly listening: readonly { readonly door: Door | 'operator'; readonly address: Address }[]
  /**
   * The signal came too late to interrupt a takeover: this relay holds the only copy of the messages. It should go on,
   * because the signal was meant for a relay that had taken over nothing yet.
   */
  readonly ignoresSignal: boolean
  /** Resolves when another relay has taken everything over and this one has only to close. */
  readonly handedOver: Promise<void>
  /** Reads the file of admitted keys again; keeps the list in force if the file cannot be read. */
  reload(): void
  /** Says goodbye to every connection, overwrites every message and closes every listener. */
  close(): Promise<void>
}

/**
 * Starts a relay. If another relay listens at `config.handover`, takes over everything it holds, and serves as soon as
 * the other one has stopped.
 * @param program.page the file of the web page
 * @param signal interrupts a takeover; the other relay goes on then
 * @throws ConfigError if an address is not free, a file cannot be read, or the takeover fails
 */
export async function startServer(
  config: Config,
  log: Log,
  { version, page: pageFile }: Program,
  signal: AbortSignal = new AbortController().signal,
): Promise<RunningServer> {
  const admitted =
    config.admit === undefined ? undefined : new AdmittedFile(config.admit, { onList: (members) => relay.admit(members), log })
  const handover = config.handover === undefined ? undefined : prepareHandover(config.handover, config.handoverSecret)
  const succession = handover && (await orConfigError('handover', findPredecessor({ ...handover, memory: config.memory, signal })))
  const relay = new Relay({
    ...config,
    admit: admitted?.first,
    inherited: succession && inheritSecrets(succession),
    collect: collectGarbage,
    onFault: () => log.event('internal-error', { origin: 'connection' }),
  })
  const askTor = findTor(config)
  const tor = askTor === undefined ? {} : { tor: askTor }
  let operator: Operator | undefined
  let predecessor: Predecessor | undefined
  const { promise: handedOver, resolve: onHandedOver } = Promise.withResolvers<void>()
  let closing = false
  const isClosing = (): boolean => closing
  const isOver = (): boolean => closing || (signal.aborted && succession?.owns !== true)
  /** The addresses of a relay that was here before may become free a moment later. */
  const patience = { ms: succession === undefined ? 0 : FREE_MS, isOver }
  const closers: (() => Promise<void> | void)[] = []
  const listening: { door: Door | 'operator'; address: Address }[] = []
  const onListening = (door: Door | 'operator', address: Address): void => {
    listening.push({ door, address })
    log.event('listening', address.kind === 'tcp' ? { door, port: address.port } : { door })
  }

  const doors = new Doors({
    proxy: config.proxy,
    connections: config.connections,
    onHeaderRefused: () => relay.counters.turnedAway['proxy-header']++,
    onKept: () => log.event('unsafe', { check: 'read-buffer' }),
  })
  closers.push(() => doors.close())
  const openDoor = async (door: Door, onSocket: (socket: Socket, circuit: string | undefined) => void): Promise<void> => {
    const address = config[door]
    if (address !== undefined) onListening(door, await orConfigError(door, doors.open(door, address, patience, onSocket)))
  }
  const openPage = async (): Promise<void> => {
    const page = await createPublicDoor({
      offer: findOffer(config.page, pageFile, log),
      maxMessage: config.limits.payload + config.limits.lineOverhead,
      names: () => relay.names,
      enter: (circuit, visitor) => relay.enter(circuit, visitor),
      pageWait: (circuit) => relay.pageWait(circuit),
      accept: (stream, visit) => relay.accept(stream, 'http', visit),
    })
    closers.push(() => page.close())
    await openDoor('http', (socket, circuit) => page.serve(socket, circuit))
  }
  const names =
    config.nameFile === undefined
      ? undefined
      : followNameFile(
          config.nameFile,
          ({ name, left }, former) => {
            relay.addName(name, former, left)
            log.event('name-known', {})
          },
          (problem) => log.event('name-file-unusable', { problem }),
        )
  const close = async (): Promise<void> => {
    closing = true
    succession?.abandon()
    await predecessor?.close()
    names?.stop()
    const closed = Promise.all(closers.map(async (each) => each()))
    await relay.close()
    // Some sockets sent no packet, or did not end though the relay ended its side.
    doors.destroySockets()
    await closed
  }
  try {
    if (succession !== undefined) await takeOver(succession, relay, log)
    for (const door of ['tcp', 'unix'] as const) {
      await openDoor(door, (socket, circuit) => serveSocket(socket, circuit, (stream) => relay.accept(stream, door)))
    }
    if (config.http !== undefined) await openPage()
    const probing = startProbing(config, () => relay.snapshot().names, log)
    closers.push(() => probing?.stop())
    const startTime = Date.now() / 1_000
    const startedAt = performance.now()
    const openOperator = (address: Address): Promise<Operator> =>
      startOperator(address, {
        snapshot: () => relay.snapshot(),
        startTime,
        uptime: () => (performance.now() - startedAt) / 1_000,
        version,
        ...tor,
        ...(names === undefined ? {} : { nameFile: () => names.problem() }),
        ...(admitted === undefined ? {} : { admit: () => admitted.problem }),
        ...(probing === undefined ? {} : { probe: probing.state }),
        panic() {
          relay.wipe()
          doors.destroySockets()
          log.event('wiped')
        },
        onFault: () => log.event('internal-error', { origin: 'operator' }),
      })
    const { operator: operatorAddress } = config
    if (operatorAddress !== undefined) {
      operator = await orConfigError(
        'operator',
        waitForAddress(() => openOperator(operatorAddress), patience),
      )
      onListening('operator', operator.address)
      closers.push(() => operator?.close())
    }
    if (succession !== undefined) {
      await succession.opened()
      relay.resume()
    }
    if (handover !== undefined) {
      const handing: Handing = {
        bytes: () => relay.heldBytes,
        suspend: () => relay.suspend(),
        resume: () => relay.resume(),
        async release() {
          doors.release()
          await operator?.close()
        },
        async reopen() {
          await doors.reopen(isClosing)
          const former = operator?.address
          if (former !== undefined) operator = await waitForAddress(() => openOperator(former), { ms: Infinity, isOver: isClosing })
        },
      }
      const listen = async (): Promise<void> => {
        predecessor = await listenForSuccessor({ ...handover, handing, log })
        void predecessor.handedOver.then(onHandedOver)
      }
      try {
        await waitForAddress(listen, { ms: FREE_MS, isOver })
      } catch (error) {
        // A relay that has taken over holds the only copy by now, and goes on.
        if (succession === undefined) throw error
        log.event('handover-off')
        // The relay before may have been stopped for a while, and ends later.
        void waitForAddress(listen, { ms: Infinity, isOver: isClosing }).then(
          async () => (closing ? predecessor?.close() : log.event('handover-on')),
          () => {},
        )
      }
    }
    const watch = startWatch({ snapshot: () => relay.snapshot(), connections: config.connections, ...tor }, log)
    closers.push(() => watch.stop())
    admitted?.follow()
    closers.push(() => admitted?.stop())
  } catch (error) {
    await close()
    throw asConfigError('handover', error)
  }
  return {
    listening,
    ignoresSignal: signal.aborted && succession?.owns === true,
    handedOver,
    reload: () => admitted?.reload(),
    close,
  }
}

/** Reads the web page if the relay offers it. Without its file, the relay serves everything else. */
function findOffer(mode: PageMode, file: string, log: Log): Offer | undefined {
  if (mode === 'off') return undefined
  const page = readPageFile(file)
  if (typeof page === 'object') return { page, runs: mode === 'run' }
  log.event('page-unusable', { problem: page })
  return undefined
}

/** Returns a function that finds tor's state; undefined if nothing is configured for that. */
function findTor({ torControl, torFile }: Config): (() => Promise<TorState | undefined>) | undefined {
  if (torControl !== undefined) return () => readTorState(torControl)
  if (torFile === undefined) return undefined
  const file = new ReportFile(torFile)
  return async () => {
    const report = file.read()
    return report === undefined ? undefined : parseTorReport(report)
  }
}

type HandoverAddress = NonNullable<Config['handover']>

function prepareHandover(address: HandoverAddress, secretFile: string | undefined): { address: HandoverAddress; psk: Uint8Array } {
  checkHandoverFolder(address.path)
  return { address, psk: readHandoverSecret(secretFile) }
}

function inheritSecrets({ secrets }: Succession): RelaySecrets {
  const inherited = { boot: createSecretKey(secrets.boot), token: createSecretKey(secrets.token) }
  for (const secret of [secrets.boot, secrets.token]) secret.fill(0)
  return inherited
}

async function takeOver(succession: Succession, relay: Relay, log: Log): Promise<void> {
  log.event('taking-over')
  const percent = await succession.fill(
    (message) => {
      if (!relay.restore(message)) throw new HandoverError('memory')
    },
    (spent) => relay.spend(spent),
    (bundle) => relay.restoreBundle(bundle),
  )
  if (percent === 100) log.event('taken-over')
  else log.event('taken-over-partly', { percent })
}

async function orConfigError<T>(key: string, attempt: Promise<T>): Promise<T> {
  try {
    return await attempt
  } catch (error) {
    throw asConfigError(key, error)
  }
}

/** Has V8 collect garbage, if Node runs with --expose-gc (src/cli/relay/confinement.ts). */
function collectGarbage(what: 'young' | 'all'): void {
  // A collection of young objects overwrites only the half of their space that the one before emptied.
  for (let n = 0; n < 2; n++) void globalThis.gc?.({ type: 'minor' })
  if (what === 'all') void globalThis.gc?.()
}
