import { CodedError } from '../protocol/coded-error.ts'
import type { SshKey } from './ssh-key.ts'

/** The reasons for which a private key's file cannot be used. */
export type PrivateKeyErrorCode =
  | 'not-a-private-key'
  | 'several-keys'
  | 'damaged'
  | 'needs-passphrase'
  | 'wrong-passphrase'
  | 'too-costly'
  | 'rsa-size'
  | 'rsa-exponent'
  | 'unsupported'
  | 'needs-token'

const TEXTS = {
  'not-a-private-key': 'the file contains no private key in a known format',
  'several-keys': 'the file contains more than one private key',
  damaged: 'the private key is damaged or cut off',
  'needs-passphrase': 'the private key is encrypted and needs its passphrase',
  'wrong-passphrase': 'the passphrase is wrong, or the encrypted key is damaged',
  'too-costly': 'decrypting the private key takes more rounds than the limit allows',
  'rsa-size': 'the private key is an RSA key whose size is not between 2,048 and 8,192 bits',
  'rsa-exponent': 'the private key is an RSA key whose public exponent is not an odd number from 65,537 to 33 bits',
  unsupported: 'the type or encryption of the private key is not supported',
  'needs-token': 'the private key belongs to a security key (FIDO), which signs only through an SSH agent',
} as const satisfies Record<PrivateKeyErrorCode, string>

/** Reports that a private key's file cannot be used. Contains no key material. */
export class PrivateKeyError extends CodedError<PrivateKeyErrorCode> {
  /** The public key, with `needs-token` only. */
  readonly key: SshKey | undefined

  /** @param more.count how many keys the file contains, with `several-keys` */
  constructor(code: PrivateKeyErrorCode, more: { readonly key?: SshKey; readonly count?: number } = {}) {
    super('PrivateKeyError', code, more.count === undefined ? TEXTS[code] : `the file contains ${more.count} private keys; expected one`)
    this.key = more.key
  }
}
