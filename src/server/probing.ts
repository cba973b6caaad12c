/** How the relay learns whether clients can reach it through Tor: it tries itself, or reads another program's report. */
import type { Config } from '../config/config.ts'
import type { Log } from '../log.ts'
import { probe } from '../operator/probe.ts'
import { followProbe, startProbe } from '../operator/reachability.ts'
import { ReportFile } from './report-file.ts'

/**
 * Starts the configured way.
 * @param names the relay's names now, in order
 * @returns undefined if none is configured
 */
export function startProbing(
  { probe: socks, probeFile, probeSeconds }: Config,
  names: () => readonly string[],
  log: Log,
): ReturnType<typeof startProbe> | undefined {
  if (probeFile !== undefined) {
    const file = new ReportFile(probeFile)
    return followProbe({ read: () => file.read(), everySeconds: probeSeconds }, log)
  }
  if (socks === undefined) return undefined
  return startProbe(
    {
      // Addresses that the relay is leaving come last; clients move to the first one.
      name: () => names().find((name) => name.endsWith('.onion')),
      probe: (name, signal) => probe(name, socks, signal),
      everySeconds: probeSeconds,
      random: Math.random,
    },
    log,
  )
}
