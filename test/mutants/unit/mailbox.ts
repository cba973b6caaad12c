/** Defects of the mailboxes. */
import { type Defect, forTests } from '../defect.ts'

export const MAILBOX: readonly Defect[] = [
  ...forTests(
    'src/mailbox/mailbox.ts',
    ['test/mailbox/mailbox.test.ts'],
    [
      ['> this.#budget * share)', '>= this.#budget * share)', 'A message that fills the budget exactly is refused.'],
      ['rows.expires[this.#oldest]! <= now', 'rows.expires[this.#oldest]! < now', 'A message expires a millisecond late.'],
      ['count >= places ||', 'count > places ||', 'A mailbox takes one message too many.'],
      ['bytes > how.bytes && count > 0', 'bytes >= how.bytes && count > 0', 'A batch of exactly the allowed bytes loses its last message.'],
      ['bytes > how.bytes && count > 0', 'bytes > how.bytes', 'A message longer than the allowed bytes is never handed out.'],
    ],
  ),
]
