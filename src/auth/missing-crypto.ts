import { CodedError } from '../protocol/coded-error.ts'

const TEXTS = {
  'insecure-context': 'this browser treats the page as insecure, and gives it no WebCrypto',
  'unsupported-key': 'the WebCrypto of this browser does not support this type of key',
} as const

/**
 * The browser lacks what a cryptographic operation needs, so the result is unknown: a signature is neither good nor bad.
 * Only web pages throw it, because WebCrypto is missing in insecure contexts and supports fewer keys than Node.
 */
export class MissingCryptoError extends CodedError<keyof typeof TEXTS> {
  constructor(code: keyof typeof TEXTS) {
    super('MissingCryptoError', code, TEXTS[code])
  }
}
