/** The web page: one file that a person keeps (docs/page.md). */
import { render } from 'preact'
import { isOnion } from '../onion/address.ts'
import { App } from './app.tsx'
import { Insecure } from './start.tsx'

const isFile = location.protocol === 'file:'
const isSecure = isSecureContext && (crypto.subtle as SubtleCrypto | undefined) !== undefined
const relay = isOnion(location.hostname) ? location.hostname : undefined

render(isSecure ? <App origin={isFile ? 'file' : 'relay'} relay={relay} /> : <Insecure />, document.getElementById('app')!)
