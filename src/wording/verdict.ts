/** The verdicts on received messages, in words. */

/** The verdict on a received message (docs/protocol.md, section 10). */
export type Verdict =
  | 'unreadable'
  | 'unsigned'
  | 'unknown-version'
  | 'truncated'
  | 'malformed'
  | 'forged'
  | 'unverifiable'
  | 'readdressed'
  | 'replayed'
  | 'future'
  | 'stale'
  | 'genuine'

/** The remarks on messages that are not genuine; they appear before the text. */
export const VERDICTS: Readonly<Record<Exclude<Verdict, 'genuine'>, string>> = {
  unreadable: 'unreadable: your keys cannot decrypt it',
  unsigned: 'unsigned: anyone may have written this',
  'unknown-version': 'of a version that this program does not know',
  truncated: 'cut off: its signature is incomplete',
  malformed: 'malformed',
  forged: 'forged: the named sender did not sign it',
  unverifiable: 'unverifiable: its signature cannot be checked here',
  readdressed: 'readdressed: its author wrote it to someone else',
  replayed: 'replayed: you have seen this before, and someone sent it again',
  future: 'dated in the future: a clock is wrong',
  stale: 'more than two weeks old: it may be a replay',
}
