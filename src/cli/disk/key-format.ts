/** Names the formats of keys that this program does not read, and the command that converts each. */

/** A format, as the end of a sentence, and what to do: hints for a person who wants the public or the private key. */
export interface KeyFormat {
  readonly name: string
  readonly toPublic: string
  readonly toPrivate: string
}

/** The start of a file. */
const HEAD_BYTES = 4_096

const both = (name: string, hint: string): KeyFormat => ({ name, toPublic: hint, toPrivate: hint })
const publicPem = (name: string, form: string): KeyFormat => ({
  name,
  toPublic: `convert it: \`ssh-keygen -i ${form}-f FILE > NEW.pub\``,
  toPrivate: `name the file of its private key, or convert it and use an SSH agent: \`ssh-keygen -i ${form}-f FILE > NEW.pub\``,
})

const ROWS: readonly (readonly [start: RegExp, format: KeyFormat])[] = [
  [
    /^PuTTY-User-Key-File-/m,
    {
      name: 'a private key of PuTTY',
      toPublic: 'print its public key: `puttygen FILE -L > NEW.pub`',
      toPrivate: 'convert it: `puttygen FILE -O private-openssh -o NEW`',
    },
  ],
  [/^---- BEGIN SSH2 PUBLIC KEY ----/m, publicPem('a public key in the format of RFC 4716', '')],
  [
    /^---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----/m,
    both('a private key of ssh.com', 'convert it: `ssh-keygen -i -f FILE > NEW`; if it is encrypted, remove its passphrase first'),
  ],
  [/^-----BEGIN RSA PUBLIC KEY-----/m, publicPem('a public key in PEM', '-m PEM ')],
  [/^-----BEGIN PUBLIC KEY-----/m, publicPem('a public key in PEM', '-m PKCS8 ')],
  [/^-----BEGIN (?:TRUSTED )?CERTIFICATE-----/m, both('an X.509 certificate', 'use an SSH key: `ssh-keygen -t ed25519` makes one')],
  [/^-----BEGIN PGP /m, both('a key of OpenPGP', 'if it has a subkey for authentication: `gpg --export-ssh-key NAME > NEW.pub`')],
  [
    /^AGE-(?:SECRET-KEY|PLUGIN)-/m,
    both(
      'an age identity, which can neither log in nor sign',
      'make an SSH key: `asfaleia key new`; `age-keygen -y FILE` prints the recipient',
    ),
  ],
  [/^age1[a-z0-9]+\s*$/m, both('an age recipient, which can neither log in nor sign', 'ask for an SSH public key or a contact card')],
]

const UTF16 = both('a text in UTF-16', 'convert it: `iconv -f UTF-16 -t UTF-8 FILE > NEW`')
const UTF16_LE = both('a text in UTF-16', 'convert it: `iconv -f UTF-16LE -t UTF-8 FILE > NEW`')
const UTF16_BE = both('a text in UTF-16', 'convert it: `iconv -f UTF-16BE -t UTF-8 FILE > NEW`')

/** Returns the format of a file that is no line of a public key and no private key in PEM, if it is one of these. */
export function findKeyFormat(bytes: Uint8Array): KeyFormat | undefined {
  const [first, second, third, fourth] = bytes
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return UTF16
  if (bytes.length >= 4 && second === 0 && fourth === 0 && first !== 0) return UTF16_LE
  if (bytes.length >= 4 && first === 0 && third === 0 && second !== 0) return UTF16_BE
  const head = Buffer.from(bytes.subarray(0, HEAD_BYTES))
    .toString('latin1')
    .replace(/^\u{ef}\u{bb}\u{bf}/u, '')
  return ROWS.find(([start]) => start.test(head))?.[1]
}
