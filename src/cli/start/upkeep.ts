/**
 * Keeps an onion service running in front of a relay: starts tor, shows its progress, and restarts it when it ends. The
 * caller reacts when clients can find the service, or when Tor has no network.
 */
import { chmod, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { FREE, freeAddress } from './port.ts'
import { makeFolder } from '../disk/file.ts'
import { systemReason } from '../disk/system.ts'
import type { Screen } from '../program/progress.ts'
import { CliError } from '../program/error.ts'
import { aborted, type Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'
import { publication, quoted, startTor, TorError } from '../../tor/process.ts'

/** The ports of the onion service: for raw connections, and for web browsers. */
export const ONION_PORT = 3308
const ONION_HTTP_PORT = 80
/** Without progress for this long, Tor most likely has no network. */
const PATIENCE_MS = 30_000
/** Enough uploads of the descriptor: it goes to at least eight directories, and a client asks several of them. */
const ENOUGH_UPLOADS = 6
/** The longest wait before a tor that ended is started again. */
const BACKOFF_MAX_MS = 60_000

export interface Service {
  /** Whether this tor supports proof-of-work defences. */
  readonly pow: boolean
  /** The folder with tor's data and the service's keys; it stays on the disk. */
  readonly state: string
  /** The folder with tor's configuration and control socket; removed at the end. */
  readonly tor: string
  /** The relay's sockets for tor: raw connections, and HTTP. */
  readonly raw: string
  readonly http: string
  /** The file in which tor writes the service's name. */
  readonly hostname: string
  /** The relay's --name-file: `localhost` while Tor has no network, then only the service's name. */
  readonly nameFile: string
}

export interface TorListener {
  /** Called once, when clients can find the service. @param socks this tor's SOCKS port, for clients on this machine */
  onReachable(name: string, socks: string): Promise<void>
  /** Called at most once, if Tor makes no progress for a while before that. */
  onNoNetwork(): Promise<void>
}

/** Runs tor until `over` is aborted, and restarts it whenever it ends. */
export async function keepTor(service: Service, io: Io, screen: Screen, over: AbortSignal, listener: TorListener): Promise<void> {
  try {
    await makeFolder(service.state)
    await chmod(service.state, 0o700)
  } catch (error) {
    const message = error instanceof CliError ? error.message : `cannot use the folder ${service.state}: ${systemReason(error)}`
    throw new CliError(message, { hint: 'name another folder with --state' })
  }
  const extra = io.env['ASFALEIA_TORRC_EXTRA']
  const torrc = [...onionTorrc(service, await freeAddress(3309)), ...(extra === undefined ? [] : [await readExtra(extra)])]

  let reached = false
  let noNetwork: Promise<void> | undefined
  const patience = setTimeout(() => {
    // It fails only if the relay ends, and the caller watches the relay.
    noNetwork = listener.onNoNetwork().catch(() => {})
  }, PATIENCE_MS)
  let wait = 1_000
  const runOnce = async (): Promise<string> => {
    const { done, onEvent } = publication(ENOUGH_UPLOADS)
    let progress = ''
    const tor = await startTor({
      folder: service.tor,
      data: join(service.state, 'data'),
      torrc,
      events: ['STATUS_CLIENT', 'HS_DESC'],
      onEvent: (event) => {
        onEvent(event)
        const [, percent, summary = ''] = / BOOTSTRAP PROGRESS=(\d+) .*?SUMMARY="([^"]*)"/.exec(event) ?? []
        if (reached || percent === undefined || percent === progress) return
        progress = percent
        if (noNetwork === undefined) patience.refresh()
        const what = percent === '100' ? 'publishing the onion service' : sanitizeLine(summary).toLowerCase()
        screen.progress(`Tor ${percent}%: ${what}`)
      },
      signal: over,
    })
    try {
      const how = await Promise.race([done.then(() => 'reachable'), tor.exited.then(() => 'ended'), aborted(over)])
      if (how === 'reachable') {
        wait = 1_000
        clearTimeout(patience)
        // Otherwise it could write `localhost` to the name file after the service's name.
        await noNetwork
        const name = (await readFile(service.hostname, 'utf8')).trim()
        // If tor ends at this moment it restarts below, and must not end the command.
        const listeners = (await tor.control.info('net/listeners/socks').catch(() => undefined)) ?? ''
        if (!reached) await listener.onReachable(name, /"([^"]+)"/.exec(listeners)?.[1] ?? '')
        else screen.say('Tor is running again, and so is the onion service')
        reached = true
      }
      await Promise.race([tor.exited, aborted(over)])
      return 'Tor ended'
    } finally {
      await tor.stop()
    }
  }
  try {
    while (!over.aborted) {
      const why = await runOnce().catch((error: unknown) => {
        if (error instanceof TorError) return explain(error)
        if (over.aborted) return ''
        throw error
      })
      if (over.aborted) break
      screen.say(`error: ${sanitizeLine(why)}; the relay keeps running, and tor restarts in ${wait / 1_000} s`)
      await delay(wait, undefined, { signal: over }).catch(() => {})
      wait = Math.min(2 * wait, BACKOFF_MAX_MS)
    }
  } finally {
    clearTimeout(patience)
    await noNetwork
  }
}

/** Adds the reason to an error of tor: it is in the last warning, and the error that follows only refers to it. */
function explain({ message, said }: TorError): string {
  const reason = said.findLast((line) => line.startsWith('[warn]')) ?? said.at(-1)
  return reason === undefined ? message : `${message}: ${reason.replace(/^\[\w+\] /, '')}`
}

/** Builds the lines of torrc; torrc.example explains them. */
function onionTorrc({ state, raw, http, pow }: Service, socks: string): string[] {
  return [
    `SocksPort ${socks === FREE ? '127.0.0.1:auto' : socks}`,
    'AvoidDiskWrites 1',
    `HiddenServiceDir ${quoted(join(state, 'onion'))}`,
    `HiddenServicePort ${ONION_PORT} unix:${quoted(raw)}`,
    `HiddenServicePort ${ONION_HTTP_PORT} unix:${quoted(http)}`,
    'HiddenServiceExportCircuitID haproxy',
    'HiddenServiceEnableIntroDoSDefense 1',
    'HiddenServiceMaxStreams 64',
    'HiddenServiceMaxStreamsCloseCircuit 1',
    ...(pow ? ['HiddenServicePoWDefensesEnabled 1'] : []),
  ]
}

async function readExtra(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    throw new CliError('cannot read the file in ASFALEIA_TORRC_EXTRA')
  }
}
