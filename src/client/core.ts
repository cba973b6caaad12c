/**
 * The public names of `asfaleia/core`, which runs in Node and in web pages and imports no module of Node. A bundle for
 * a page replaces some modules by their `*.web.ts` version (package.json, `browser`).
 */
export { type ClaimOptions, connectClaims, connectRelay, type ConnectOptions } from './wire/connect.ts'
export { ClaimClient } from './wire/claim-client.ts'
export type { ClaimedMailbox } from './wire/claimed-mailbox.ts'
export { RelayClient, type RequestOptions } from './wire/client.ts'
export type { Token } from './wire/proof.ts'
export { MessengerError, type MessengerErrorCode } from './messenger/error.ts'
export type { Introducer, MessengerOptions, OutboxStore, RingStore, Secrecy, SecretStore, SendOptions } from './messenger/options.ts'
export type { Protection } from './messenger/sealer.ts'
export type { RingEvent } from './ring/receiving.ts'
export type { Doubt, Given, Held, Place, Ring, Run, Unread } from './ring/state.ts'
export { decodeRing, encodeRing, RingError, type RingErrorCode } from './ring/text.ts'
export type { MessengerEvent } from './messenger/event.ts'
export { Messenger, openMessenger } from './messenger/messenger.ts'
export type { MessengerPort } from './messenger/port.ts'
export { type Contact, contactOf, type Contacts, contactsOf } from './messenger/contact.ts'
export type { Delivery } from './messenger/delivery.ts'
export type { Received, ReceivedContent } from './messenger/inbox.ts'
export type { FileArrival, FileInfo, FileSink, FileSource, FileState } from './delivery/file.ts'
export type { FileDelivery, FileEvent, FileOffer, FileReceiver } from './messenger/transfers.ts'
export type { DeliveryState, OutboxEntry } from './delivery/entry.ts'
export type { Clock } from './messenger/clock.ts'
export { RelayError, type RelayErrorCode } from './wire/error.ts'
export { generateEncryptionKey, type Identity, identityOf, type Signer, signingIdentity } from './format/identity.ts'
export {
  compareGroups,
  type Group,
  type GroupChange,
  GroupError,
  type GroupErrorCode,
  isSameGroup,
  makeGroup,
  makeGroupId,
  parseGroup,
} from './format/group.ts'
export { introductionOf } from './format/introduction.ts'
export { randomart, safetyWords } from './format/safety.ts'
export { Seen, type SeenStore } from './delivery/seen.ts'
export { open, seal } from './format/envelope.ts'
export { type Card, CardError, type CardErrorCode, type CardVersion, findCard, makeCard, normalizeRelay, parseCard } from './format/card.ts'
export { isFileName, makeFileName, makeId } from './format/field.ts'
export type { Answer, Mailbox } from './format/answer.ts'
export { type Content, countParts, type FilePart, PART_BYTES, type PartRange } from './format/content.ts'
export {
  type Correspondent,
  encodeMessage,
  type Envelope,
  MessageError,
  type MessageErrorCode,
  type Opened,
  openMessage,
  roomFor,
  type SeenBefore,
  type Verdict,
} from './format/message.ts'
export type { Message } from '../protocol/answer.ts'
export type { BreachReason } from '../protocol/breach.ts'
export type { RefusalCode } from '../protocol/client-session.ts'
export { type ErrorCode, ProtocolError } from '../protocol/errors.ts'
export type { RelayLimits } from '../protocol/welcome.ts'
export { MissingCryptoError } from '../auth/missing-crypto.ts'
export { PrivateKeyError, type PrivateKeyErrorCode } from '../auth/key-error.ts'
export { generateSeedKey, parseSeedFile, type SeedKey, seedKey } from '../auth/seed.ts'
export type { ConnectCode } from '../transport/address.ts'
export type { EcdsaCurve, KeyMaterial } from '../auth/key-material.ts'
export { formatFingerprint, type KeyCheck, parsePublicKey, type SshKey, type SshKeyType, type SshPrivateKey } from '../auth/ssh-key.ts'
