/** What the library's names promise to the compiler: a change of these breaks the programs of others. */
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

test('a messenger', () => {
  expectTypeOf<typeof openMessenger>().parameter(0).toEqualTypeOf<MessengerOptions>()
  expectTypeOf<typeof openMessenger>().returns.toEqualTypeOf<Messenger>()
  // No more has to be said than who one is, where one receives, and whom one knows.
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

test('what was sent', () => {
  expectTypeOf<ReturnType<Messenger['send']>>().toEqualTypeOf<Delivery>()
  expectTypeOf<Delivery['settled']>().toEqualTypeOf<Promise<DeliveryState>>()
  expectTypeOf<DeliveryState>().toEqualTypeOf<'waiting' | 'held' | 'delivered' | 'read' | 'expired' | 'failed'>()
  expectTypeOf<Delivery['error']>().toBeUnknown()
  expectTypeOf<Awaited<ReturnType<Messenger['sendFile']>>>().toEqualTypeOf<FileDelivery>()
  expectTypeOf<FileState>().toEqualTypeOf<'offered' | 'sending' | 'done' | 'refused' | 'expired' | 'failed'>()
})

test('what came: its verdict says what there is', () => {
  const narrow = (received: Received): void => {
    if (received.verdict === 'genuine') expectTypeOf(received.envelope).toEqualTypeOf<Envelope>()
    if (received.verdict === 'unsigned') expectTypeOf(received.text).toEqualTypeOf<Uint8Array>()
    if (received.verdict === 'unreadable') expectTypeOf(received.envelope).toEqualTypeOf<undefined>()
  }
  expectTypeOf(narrow).toBeFunction()
  expectTypeOf<Received['verdict']>().not.toExtend<'genuine'>()
  // What came before is dropped, and never given.
  expectTypeOf<'replayed'>().not.toExtend<Received['verdict']>()
  expectTypeOf<Content['type']>().toEqualTypeOf<
    'text' | 'receipt' | 'file' | 'have' | 'edit' | 'remove' | 'card' | 'group' | 'leave' | 'unknown'
  >()
})

test('events are told apart by their kind', () => {
  expectTypeOf<Extract<MessengerEvent, { kind: 'delivery' }>['delivery']>().toEqualTypeOf<Delivery>()
  expectTypeOf<Extract<MessengerEvent, { kind: 'moved' }>>().toEqualTypeOf<{
    readonly kind: 'moved'
    readonly relay: string
    readonly name: string
  }>()
})

test('errors are told apart by their code', () => {
  expectTypeOf<RelayError['code']>().toEqualTypeOf<RelayErrorCode>()
  expectTypeOf<MessengerError['code']>().toEqualTypeOf<MessengerErrorCode>()
  // A closed set: a word that is none of it is none.
  expectTypeOf<string>().not.toExtend<RelayErrorCode>()
  expectTypeOf<'taken-over' | 'hostile-challenge' | 'mailbox-full'>().toExtend<RelayErrorCode>()
})

test('people and relays', () => {
  expectTypeOf<typeof contactOf>().returns.toEqualTypeOf<Contact>()
  expectTypeOf<Awaited<ReturnType<typeof parseCard>>>().toExtend<Parameters<typeof contactOf>[0]>()
  expectTypeOf<Awaited<ReturnType<typeof connectRelay>>>().toEqualTypeOf<RelayClient>()
  expectTypeOf<RelayClient>().toExtend<Disposable>()
})
