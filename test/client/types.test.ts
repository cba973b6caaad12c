/** The library's public types: a change here breaks the programs of others. The compiler checks these tests. */
import { expectTypeOf, test } from 'vitest'
import type {
  Contact,
  Content,
  contactOf,
  contactsOf,
  connectRelay,
  Delivery,
  DeliveryState,
  Envelope,
  FileDelivery,
  FileState,
  Messenger,
  MessengerError,
  MessengerErrorCode,
  MessengerEvent,
  MessengerOptions,
  openMessenger,
  parseCard,
  Received,
  RelayClient,
  RelayError,
  RelayErrorCode,
} from '../../src/client/index.ts'

test('the types of a messenger', () => {
  expectTypeOf<typeof openMessenger>().parameter(0).toEqualTypeOf<MessengerOptions>()
  expectTypeOf<typeof openMessenger>().returns.toEqualTypeOf<Messenger>()
  // These three options are enough: who the user is, where they receive, and whom they know.
  expectTypeOf<{
    identity: MessengerOptions['identity']
    relays: string[]
    contacts: ReturnType<typeof contactsOf>
  }>().toExtend<MessengerOptions>()
  expectTypeOf<Messenger>().toExtend<AsyncDisposable>()
  expectTypeOf<MessengerOptions['signal']>().toEqualTypeOf<AbortSignal | undefined>()
  expectTypeOf<Messenger['send']>().toBeCallableWith({} as Contact, { type: 'text', text: '' }, { deadline: 60 })
  expectTypeOf<ReturnType<Messenger['received']>>().toEqualTypeOf<AsyncIterable<Received>>()
  expectTypeOf<ReturnType<Messenger['events']>>().toEqualTypeOf<AsyncIterable<MessengerEvent>>()
})

test('the types of a delivery and its states', () => {
  expectTypeOf<ReturnType<Messenger['send']>>().toEqualTypeOf<Delivery>()
  expectTypeOf<Delivery['settled']>().toEqualTypeOf<Promise<DeliveryState>>()
  expectTypeOf<DeliveryState>().toEqualTypeOf<'waiting' | 'held' | 'delivered' | 'read' | 'expired' | 'failed'>()
  expectTypeOf<Delivery['error']>().toBeUnknown()
  expectTypeOf<Awaited<ReturnType<Messenger['sendFile']>>>().toEqualTypeOf<FileDelivery>()
  expectTypeOf<FileState>().toEqualTypeOf<'offered' | 'sending' | 'done' | 'refused' | 'expired' | 'failed'>()
})

test('the type of a received message narrows by its verdict', () => {
  const narrow = (received: Received): void => {
    if (received.verdict === 'genuine') expectTypeOf(received.envelope).toEqualTypeOf<Envelope>()
    if (received.verdict === 'unsigned') expectTypeOf(received.text).toEqualTypeOf<Uint8Array>()
    if (received.verdict === 'unreadable') expectTypeOf(received.envelope).toEqualTypeOf<undefined>()
  }
  expectTypeOf(narrow).toBeFunction()
  expectTypeOf<Received['verdict']>().not.toExtend<'genuine'>()
  // Replayed messages are dropped, so a program never sees this verdict.
  expectTypeOf<'replayed'>().not.toExtend<Received['verdict']>()
  expectTypeOf<Content['type']>().toEqualTypeOf<
    'text' | 'receipt' | 'file' | 'have' | 'edit' | 'remove' | 'card' | 'group' | 'leave' | 'unreadable' | 'unknown'
  >()
})

test('the type of an event narrows by its kind', () => {
  expectTypeOf<Extract<MessengerEvent, { kind: 'delivery' }>['delivery']>().toEqualTypeOf<Delivery>()
  expectTypeOf<Extract<MessengerEvent, { kind: 'moved' }>>().toEqualTypeOf<{
    readonly kind: 'moved'
    readonly relay: string
    readonly name: string
  }>()
})

test('error codes are closed sets of strings', () => {
  expectTypeOf<RelayError['code']>().toEqualTypeOf<RelayErrorCode>()
  expectTypeOf<MessengerError['code']>().toEqualTypeOf<MessengerErrorCode>()
  // A closed set: any other string is not a RelayErrorCode.
  expectTypeOf<string>().not.toExtend<RelayErrorCode>()
  expectTypeOf<'taken-over' | 'hostile-challenge' | 'mailbox-full'>().toExtend<RelayErrorCode>()
})

test('the types of contacts and relay clients', () => {
  expectTypeOf<typeof contactOf>().returns.toEqualTypeOf<Contact>()
  expectTypeOf<Awaited<ReturnType<typeof parseCard>>>().toExtend<Parameters<typeof contactOf>[0]>()
  expectTypeOf<Awaited<ReturnType<typeof connectRelay>>>().toEqualTypeOf<RelayClient>()
  expectTypeOf<RelayClient>().toExtend<Disposable>()
})
