/** The mistakes in a list of admitted keys (admitted.ts). Neither text repeats a part of the list. */

/** The mistakes of a line or file: the end of a sentence, and a hint. */
export const MISTAKES = {
  'no-key': ['is no key', 'write one key a line, `[options] type base64 [comment]`'],
  'utf-16': ['is in UTF-16', 'convert the file: `iconv -f UTF-16 -t UTF-8 FILE > NEW`'],
  'other-format': [
    'is in the format of another program',
    'list the line of its .pub file; `ssh-keygen -i -f FILE` or `puttygen FILE -L` prints it',
  ],
  'bad-key': ['has a damaged or weak key', 'copy it again from the .pub file'],
  'rsa-size': ['has an RSA key whose size is not between 2,048 and 8,192 bits', 'have its owner make another key: `ssh-keygen -t ed25519`'],
  'rsa-exponent': [
    'has an RSA key whose public exponent is not an odd number from 65,537 to 33 bits',
    'have its owner make another key: `ssh-keygen -t ed25519`',
  ],
  'wrong-type': ['has a key of a type that cannot log in', 'ssh-ed25519, ssh-rsa, ecdsa-sha2-… and sk-… keys can'],
  'bad-options': ['has options that cannot be read', 'separate them by commas without blanks, and quote values'],
  'unknown-option': ['has an unknown option', 'remove it; see docs/operations.md for those that the relay knows'],
  'bad-value': ['has an option with a wrong value', 'see docs/operations.md for the values'],
  'double-option': ['has an option twice', 'remove one of the two'],
  contradiction: ['has options that contradict each other', 'a key with send-only has no mailbox, and one with receive-only sends nothing'],
  from: ['has the option from=, but the relay sees no addresses', 'remove the option'],
  command: ['has the option command=, but the relay runs no commands', 'remove the option, if the key may use the relay'],
  'no-touch': ['has the option no-touch-required, but the relay always demands a touch', 'remove the option'],
  authority: ['has the key of an authority, but the relay trusts none', 'list the keys of people instead'],
  'not-fido': ['has the option verify-required, but its key is no sk- key', 'remove the option, or use a security key'],
  'other-options': ['has a key of a former line with other options', 'remove one of the two lines'],
  'too-large': ['the file is larger than 64 MiB', 'remove lines'],
  unreadable: ['the file cannot be read', 'check that it exists and that the user of the relay may read it'],
} as const satisfies Record<string, readonly [text: string, hint: string]>

export type MistakeName = keyof typeof MISTAKES
export const MISTAKE_NAMES = Object.freeze(Object.keys(MISTAKES)) as readonly MistakeName[]

export interface Mistake {
  /** Counted from 1; undefined if the mistake is not in a line. */
  readonly line: number | undefined
  readonly what: MistakeName
}

/** Says a mistake in one sentence: `line 7 is no key`. */
export function describeMistake({ line, what }: Mistake): string {
  return line === undefined ? MISTAKES[what][0] : `line ${line} ${MISTAKES[what][0]}`
}
