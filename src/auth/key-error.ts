import { CodedError } from '../protocol/coded-error.ts'
import type { SshKey } from './ssh-key.ts'

/** What can be wrong with a private key's file, as one closed set of codes. */
export type PrivateKeyErrorCode =
  'not-a-private-key' | 'several-keys' | 'damaged' | 'needs-passphrase' | 'wrong-passphrase' | 'too-costly' | 'unsupported' | 'needs-token'

const TEXTS = {
  'not-a-private-key': 'the file holds no private key that can be read',
  'several-keys': 'the file holds more than one private key',
  damaged: 'the private key is damaged, or cut off',
  'needs-passphrase': 'the private key is encrypted and needs its passphrase',
  'wrong-passphrase': 'the passphrase is wrong, or the encrypted key is damaged',
  'too-costly': 'to open the private key takes more rounds than are computed here',
  unsupported: 'the private key is of a type, size or encryption that is not supported',
  'needs-token': 'the private key is a security key’s (FIDO), which signs by an agent alone',
} as const satisfies Record<PrivateKeyErrorCode, string>

export class PrivateKeyError extends CodedError<PrivateKeyErrorCode> {
  /** Whose file it is: with `needs-token` only. */
  readonly key: SshKey | undefined

  constructor(code: PrivateKeyErrorCode, key?: SshKey) {
    super('PrivateKeyError', code, TEXTS[code])
    this.key = key
  }
}
