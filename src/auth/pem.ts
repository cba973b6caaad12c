/**
 * Private keys in PEM (PKCS8, PKCS1, SEC1), encrypted or not. OpenSSL decrypts and parses them; this file bounds the
 * work of the key derivation, so that a hostile file cannot keep the program busy.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { PrivateKeyError } from './key-error.ts'
import { decodeBase64, WireError } from './ssh-wire.ts'

/** Iterations of PBKDF2: some ten seconds of HMAC-SHA-256. The default of openssl is 2,048. */
const MOST_ITERATIONS = 10_000_000
/** N times r times p of scrypt: some ten seconds. The default of openssl is 2^17. */
const MOST_SCRYPT = 2 ** 22

/**
 * Opens a key.
 *
 * @param pem one block, with LF as its line end
 * @param label the label in its first line
 * @throws {PrivateKeyError}
 */
export function openPem(pem: string, label: string, passphrase: Buffer | undefined): KeyObject {
  const encrypted = label === 'ENCRYPTED PRIVATE KEY' || /^-----BEGIN [^\n]+\nProc-Type: 4,ENCRYPTED\n/.test(pem)
  if (label === 'ENCRYPTED PRIVATE KEY') checkCost(pem)
  if (encrypted && passphrase === undefined) throw new PrivateKeyError('needs-passphrase')
  try {
    return createPrivateKey(encrypted ? { key: pem, passphrase: passphrase! } : pem)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_OSSL_EVP_UNSUPPORTED') throw new PrivateKeyError('unsupported')
    throw new PrivateKeyError(encrypted ? 'wrong-passphrase' : 'damaged')
  }
}

/**
 * Checks the key derivation of an EncryptedPrivateKeyInfo (RFC 5958, RFC 8018, RFC 7914).
 *
 * @throws {PrivateKeyError} `too-costly`, `damaged`
 */
function checkCost(pem: string): void {
  let cost: { work: bigint; most: number }
  try {
    const [algorithm] = children(children(Buffer.from(decodeBase64(pem.split('\n').slice(1, -1).join(''))))[0]!.content)
    cost = costOf(children(algorithm!.content))
  } catch (error) {
    if (error instanceof WireError || error instanceof TypeError) throw new PrivateKeyError('damaged')
    throw error
  }
  if (cost.work > cost.most) throw new PrivateKeyError('too-costly')
}

const PBES2 = '2a864886f70d01050d'
const SCRYPT = '2b06010401da47040b'

/** Computes the work of an algorithm, given as its object identifier and parameters. */
function costOf([id, parameters]: readonly Element[]): { work: bigint; most: number } {
  const name = id!.content.toString('hex')
  const values = children(parameters!.content)
  if (name === PBES2) return costOf(children(values[0]!.content))
  if (name !== SCRYPT) return { work: toNumber(values[1]), most: MOST_ITERATIONS }
  const [, cost, block, parallel] = values
  return { work: toNumber(cost) * toNumber(block) * toNumber(parallel), most: MOST_SCRYPT }
}

interface Element {
  readonly tag: number
  readonly content: Buffer
}

const INTEGER = 0x02

function toNumber(element: Element | undefined): bigint {
  if (element?.tag !== INTEGER || element.content.length === 0) throw new WireError()
  return BigInt(`0x${element.content.toString('hex')}`)
}

/** Parses a sequence of DER elements (X.690). */
function children(bytes: Buffer): Element[] {
  const all: Element[] = []
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at + 1] ?? 0x80
    const more = first < 0x80 ? 0 : first & 0x7f
    if (first === 0x80 || more > 4 || at + 2 + more > bytes.length) throw new WireError()
    const start = at + 2 + more
    const length = more === 0 ? first : bytes.readUIntBE(at + 2, more)
    if (length > bytes.length - start) throw new WireError()
    all.push({ tag: bytes[at]!, content: bytes.subarray(start, start + length) })
    at = start + length
  }
  return all
}
