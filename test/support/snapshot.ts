/** A snapshot of a relay that is ready and has had no clients. */
import { createCounters, type Snapshot } from '../../src/relay/counters.ts'

export function createSnapshot(differing: Partial<Snapshot> = {}): Snapshot {
  return {
    counters: createCounters(),
    accepting: true,
    names: ['localhost'],
    connections: 0,
    proven: 0,
    mailboxes: 0,
    subscribers: 0,
    messages: 0,
    bundles: 0,
    messageBytes: 0,
    messageBudget: 1_048_576,
    ...differing,
  }
}
