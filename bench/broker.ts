/** Runs aedes, an MQTT broker for Node, as a separate process with everything in memory. Usage: broker.ts PORT */
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const broker = await Aedes.createBroker({ queueLimit: 1_000_000, maxClientsIdLength: 64 })
const server = createServer({ noDelay: true }, broker.handle)
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.stdout.write('ready\n'))
