// A photo from the camera: in a dialog where the browser allows it, else by the device's own camera program.

const dialog = document.getElementById("camera");
const video = dialog.querySelector("video");
const button = dialog.querySelector("[data-does=shoot]");

/** Open the camera. Resolves to true once it runs, to false where this browser has none for the page. */
export async function openCamera() {
  try {
    const wanted = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1440 } };
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  } catch {
    return false;
  }
  button.disabled = true;
  dialog.showModal();
  await video.play().then(() => (button.disabled = false), closeCamera);
  return true;
}

/** The picture that the camera shows, as a file; null where there is none. */
export async function shoot() {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  closeCamera();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return blob && new File([blob], "camera.png", { type: "image/png" });
}

export function closeCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  if (dialog.open) dialog.close();
}

dialog.addEventListener("close", closeCamera); // by the Escape key
