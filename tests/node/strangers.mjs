// Signs or verifies one webhook with other people's clients: a JSON request on standard input, a
// JSON answer on standard output. A signature that does not hold is an answer, not a failure.
import { readFileSync } from "node:fs";
import Stripe from "stripe";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const stripe = new Stripe("sk_test_of_nobody");

const WORK = {
  stripeSign: ({ body, secret, timestamp }) =>
    stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp }),
  stripeVerify: ({ body, header, secret, at }) =>
    stripe.webhooks.constructEvent(body, header, secret, 300, undefined, at * 1000).id,
  standardSign: ({ id, body, secret, timestamp }) =>
    new Standard(secret).sign(id, new Date(timestamp * 1000), body),
  standardVerify: ({ headers, body, secret }) => new Standard(secret).verify(body, headers).id,
  svixVerify: ({ headers, body, secret }) => {
    new Svix(secret).verify(body, headers); // throws, or says nothing
    return JSON.parse(body).id;
  },
};

const { work, ...request } = JSON.parse(readFileSync(0, "utf8"));
try {
  console.log(JSON.stringify({ said: WORK[work](request) }));
} catch (error) {
  console.log(JSON.stringify({ refused: error.constructor.name }));
}
